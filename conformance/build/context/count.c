#include <stdio.h>

int main(int argc, char **argv)
{
    FILE *file = argc > 1 ? fopen(argv[1], "r") : stdin;
    long lines = 0;
    int character;

    if (!file) {
        perror(argv[1]);
        return 1;
    }
    while ((character = getc(file)) != EOF)
        lines += character == '\n';
    printf("%ld\n", lines);
    return 0;
}

"""A program's heap and directory, which proot keeps by hand: 5.1 may lose them to children."""

from __future__ import annotations

import pytest

from tests.containers import Box, Home, shell_layer
from tests.dynamic import compiled

# Memory of the heap is taken before and after: by this thread, by another one, which also changes
# the directory of both, or with a child between that borrows the memory until it executes another
# program (posix_spawn(3)).
PROGRAM = r"""
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECES = 3000, SIZE = 1000 };
static unsigned char *pieces[PIECES];

static void *take(void *from) {
    for (int i = *(int *)from; i < *(int *)from + PIECES / 3; i++)
        memset(pieces[i] = malloc(SIZE), i % 251, SIZE);
    return NULL;
}

static void *go_and_take(void *from) {
    return chdir("/data") ? from : take(from);
}

int main(int count, char **words) {
    int first = 0, second = PIECES / 3, third = 2 * PIECES / 3;
    pthread_t thread;
    char here[64];
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_MAX, 0);
    take(&first);
    if (!strcmp(words[1], "child") && system("true")) return 2;
    if (!strcmp(words[1], "thread") && pthread_create(&thread, NULL, go_and_take, &second))
        return 3;
    if (!strcmp(words[1], "thread")) pthread_join(thread, NULL); else take(&second);
    if (!strcmp(words[1], "thread") && strcmp(getcwd(here, sizeof here), "/data")) return 5;
    take(&third);
    for (int i = 0; i < PIECES; i++) {
        for (int k = 0; k < SIZE; k++) if (pieces[i][k] != i % 251) return 4;
        free(pieces[i]);
    }
    puts("all there");
    return 0;
}
"""


@pytest.fixture(scope="module")
def image(home: Home, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with the program, statically linked."""
    place = tmp_path_factory.mktemp("heap")
    program = compiled(place, "heap", PROGRAM, "-static", "-pthread").read_bytes()
    return home.add("heap", shell_layer().file("bin/heap", program, 0o755).bytes())


@pytest.mark.parametrize("between", ["child", "thread", "nothing"])
@pytest.mark.parametrize("user", ["root", "1234"])
def test_children_and_threads_leave_the_heap(box: Box, image: str, between: str, user: str) -> None:
    for _ in range(5):
        assert box.run("-u", user, image, "heap", between).text == "all there\n"

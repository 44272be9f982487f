/* Each rank says where it is and whom it has heard of; the first says what all have summed up. */
#include <mpi.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int rank, size, sum;
    char own[64], other[64] = "";
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    memset(own, 0, sizeof own);
    gethostname(own, sizeof own - 1);
    MPI_Sendrecv(own, sizeof own, MPI_CHAR, (rank + 1) % size, 0,
                 other, sizeof other, MPI_CHAR, (rank + size - 1) % size, 0,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    printf("rank %d of %d on %s heard of %s, sum %d\n", rank, size, own, other, sum);
    MPI_Finalize();
    return 0;
}

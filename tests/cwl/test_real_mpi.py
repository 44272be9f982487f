"""A real MPI, Debian's mpich, on the host and in the image. Not in the ordinary run: tox -e mpi."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.containers import ENGINES, Home
from tests.cwl.documents import cwltool, tool
from tests.dynamic import dynamic_layer

PROGRAM = r"""
#include <mpi.h>
#include <stdio.h>
static char out[1 << 20], in[1 << 20];
int main(int argc, char **argv) {
    int rank, size, sum;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    int next = (rank + 1) % size, last = (rank + size - 1) % size;
    out[sizeof out - 1] = (char)(rank + 1);
    MPI_Sendrecv(out, sizeof out, MPI_CHAR, next, 0, in, sizeof in, MPI_CHAR, last, 0,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    printf("rank %d of %d, sum %d, heard of %d\n", rank, size, sum, in[sizeof in - 1] - 1);
    MPI_Finalize();
    return 0;
}
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_ranks_of_a_real_mpi_exchange_messages(home: Home, engine: str, tmp_path: Path) -> None:
    """Two ranks: with three Debian's mpich 4.0.2 hangs at its end now and then, on the host too,
    as soon as they talk by TCP (UCX_TLS=tcp,self)."""
    (tmp_path / "ring.c").write_text(PROGRAM)
    program = tmp_path / "ring"
    subprocess.run(["mpicc.mpich", "-o", program, tmp_path / "ring.c"], check=True)
    home.add("mpich", dynamic_layer(own=[program]).bytes())
    document = {**tool("", {"dockerPull": "mpich"}), "baseCommand": ["ring"]}
    document["requirements"]["cwltool:MPIRequirement"] = {"processes": 2}
    (tmp_path / "mpi.yml").write_text("runner: mpiexec.hydra\n")
    done = cwltool(
        home,
        tmp_path,
        document,
        *("--mpi-config-file", str(tmp_path / "mpi.yml")),
        environment={"CWL_USERSPACE_ENGINE": engine},
    )
    assert done.code == 0, done.log
    assert sorted(done.text("out").splitlines()) == [
        "rank 0 of 2, sum 1, heard of 1",
        "rank 1 of 2, sum 1, heard of 0",
    ]

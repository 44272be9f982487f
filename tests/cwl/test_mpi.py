"""MPI with a container: N runs of one image at once, each with what the launcher tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.containers import ENGINES, Home, shell_layer
from tests.cwl.documents import SCRIPTS, cwltool, since, tool
from tests.dynamic import compiled

# Starts N processes as an MPI launcher does: each with variables and an open socket. Whoever has
# said its rank there waits until all have, which shows that they run at the same time.
LAUNCHER = f"""#!{SCRIPTS / "python"}
import os, socket, subprocess, sys
option, count, *command = sys.argv[1:]
assert option == "-n", sys.argv
ranks = []
for rank in range(int(count)):
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    told = {{
        "PMI_RANK": str(rank), "PMI_SIZE": count, "PMI_FD": str(theirs.fileno()),
        "PMIX_RANK": str(rank), "OMPI_COMM_WORLD_RANK": str(rank), "SLURM_PROCID": str(rank),
        "UNRELATED": "of the host",
    }}
    process = subprocess.Popen(
        command, env={{**os.environ, **told}}, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
    )
    theirs.close()
    ranks.append((process, ours))
said = [ours.recv(100).decode() for _, ours in ranks]
for _, ours in ranks:
    ours.sendall(("".join(said)).encode())
sys.exit(max(process.wait() for process, _ in ranks))
"""
RANK = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static const char *told(const char *name) { return getenv(name) ? getenv(name) : "none"; }
int main(int argc, char **argv) {
    char line[200], shared[100];
    int server = atoi(told("PMI_FD")), length;
    snprintf(shared, sizeof shared, "/dev/shm/%s-%s", argv[1], told("PMI_RANK"));
    fclose(fopen(shared, "w"));
    dprintf(server, "%s,", told("PMI_RANK"));
    length = read(server, line, sizeof line - 1);
    line[length > 0 ? length : 0] = 0;
    int all = 1;
    for (const char *r = "012"; *r; r++) {
        snprintf(shared, sizeof shared, "/dev/shm/%s-%c", argv[1], *r);
        all = all && access(shared, F_OK) == 0;
    }
    char name[100];
    gethostname(name, sizeof name);
    printf("%s of %s, %s %s %s, heard %s files %d, %s on %s\n", told("PMI_RANK"), told("PMI_SIZE"),
           told("PMIX_RANK"), told("OMPI_COMM_WORLD_RANK"), told("SLURM_PROCID"), line, all,
           told("UNRELATED"), name);
    return 0;
}
"""


@since("3.1.20250715140722")  # before, MPI or Docker could be required, but not both
@pytest.mark.parametrize("engine", ENGINES)
def test_ranks_run_at_once_and_know_each_other(home: Home, engine: str, tmp_path: Path) -> None:
    program = compiled(tmp_path, "rank", RANK, "-static")
    home.add("ranks", shell_layer().file("bin/rank", program.read_bytes(), 0o755).bytes())
    launcher = tmp_path / "programs" / "mpirun"
    launcher.parent.mkdir()
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    word = tmp_path.name
    document = {
        **tool("", {"dockerPull": "ranks"}),
        "baseCommand": ["rank", word],
    }
    document["requirements"]["cwltool:MPIRequirement"] = {"processes": 3}
    done = cwltool(
        home,
        tmp_path,
        document,
        path=f"{launcher.parent}:{SCRIPTS}:{home.environment['PATH']}",
        environment={"CWL_USERSPACE_ENGINE": engine},
    )
    for rank in range(3):
        Path(f"/dev/shm/{word}-{rank}").unlink(missing_ok=True)
    assert done.code == 0, done.log
    host = Path("/proc/sys/kernel/hostname").read_text().strip()
    assert sorted(done.text("out").splitlines()) == [
        f"{n} of 3, {n} {n} {n}, heard 0,1,2, files 1, none on {host}" for n in range(3)
    ]


def test_a_run_without_a_launcher_is_told_nothing_of_one(home: Home) -> None:
    """In a batch job the variables of the scheduler are everywhere: only MPI's runs get them."""
    environment = {"SLURM_PROCID": "3", "PMI_FD": "77"}
    ran = home.call("run", "busybox", "env", environment=environment)
    assert "SLURM" not in ran.text and "PMI" not in ran.text
    asked = {**environment, "CWL_USERSPACE_MPI": "1"}
    refused = home.call("run", "busybox", "env", environment=asked)
    assert refused.code == 125 and "PMI_FD is '77', which is no open descriptor" in (
        refused.complaint
    )

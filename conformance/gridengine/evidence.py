"""Tries on a Grid Engine what ``docs/clusters.rst`` says of it, as a user without rights.

usage: python -m conformance.gridengine.evidence; in a directory of one's own, with SGE_ROOT set
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from conformance.problem import Problem
from conformance.seen import output_of, processes_with, stubborn, until

IMAGE = "debian:stable-slim"
ENGINES = ("userns", "proot")
# In the shell that Grid Engine starts for a command /etc/profile may set another PATH.
_HERE = ("-V", "-cwd", "-shell", "n", "-b", "y")


def main() -> int:
    try:
        for line in _all():
            print(line, flush=True)
    except Problem as problem:
        problem.report("conformance.gridengine.evidence")
        return 1
    return 0


def _all() -> Iterator[str]:
    output_of("cwl-userspace", "pull", "-q", IMAGE)
    for engine in ENGINES:
        yield _deleted(engine)
        yield _stopped(engine)
        yield _out_of_time(engine)
        yield _address_space(engine)
        yield _all_together(engine)
    yield _interrupted(["qrsh", "-now", "n", "-V", "-cwd"])
    yield _interrupted(["qsub", "-sync", "y", *_HERE, "-j", "y", "-o", "interrupted"])
    yield _told()
    yield _scratch()


class Job:
    """A job that runs a container, and what it prints."""

    def __init__(self, engine: str, tool: Sequence[str], options: Sequence[str] = ()) -> None:
        self._output = Path(f"job-{uuid.uuid4().hex}")
        command = ["cwl-userspace", "--engine", engine, "run", IMAGE, *tool]
        words = ["qsub", "-terse", *_HERE, "-j", "y", "-o", str(self._output.absolute()), *options]
        self.number = output_of(*words, *command).strip()

    def says(self) -> str:
        """What has been printed so far."""
        return self._output.read_text() if self._output.exists() else ""

    def there(self) -> bool:
        """Whether Grid Engine still knows it as one that waits or runs."""
        return subprocess.run(["qstat", "-j", self.number], capture_output=True).returncode == 0

    def ended(self) -> str:
        """Wait for it to end; all that it has printed."""
        if not until(lambda: not self.there()):
            raise Problem(f"job {self.number} does not end", f"it said {self.says()!r}")
        return self.says()


def _held(engine: str, options: Sequence[str] = ()) -> tuple[Job, str]:
    """A job whose tool ignores SIGTERM, when it runs, and the word that all its processes have."""
    word = f"held-{uuid.uuid4().hex}"
    job = Job(engine, stubborn(word), options)
    if not until(lambda: "ready" in job.says() and processes_with(f"{word}-child")):
        raise Problem(f"the job with the engine {engine} did not start", f"it said {job.says()!r}")
    return job, word


def _all_gone(what: str, word: str) -> None:
    if not until(lambda: not processes_with(word)):
        raise Problem(f"{what} left {processes_with(word)}", "see ps")


def _deleted(engine: str) -> str:
    job, word = _held(engine)
    before, started = len(processes_with(word)), time.monotonic()
    output_of("qdel", job.number)
    _all_gone(f"qdel with the engine {engine}", word)
    took = time.monotonic() - started
    return f"qdel with {engine}: {before} processes that ignore SIGTERM gone in {took:.1f} s"


def _stopped(engine: str) -> str:
    """Suspended, nothing of the container goes on; resumed, all of it does."""
    job, word = _held(engine)
    count = len(processes_with(word))
    output_of("qmod", "-sj", job.number)
    if not until(lambda: _states(word) <= {"T", "t"}):
        raise Problem(f"qmod -sj with the engine {engine} left some of {word}", "see ps")
    output_of("qmod", "-usj", job.number)
    if not until(lambda: not _states(word) & {"T", "t"}):
        raise Problem(f"qmod -usj with the engine {engine} missed some of {word}", "see ps")
    output_of("qdel", job.number)
    _all_gone(f"qdel with the engine {engine}", word)
    return f"qmod -sj with {engine}: {count} processes stopped, and after -usj going on"


def _states(word: str) -> set[str]:
    """The letters that ps has for the processes of a job; some may have ended meanwhile."""
    found = set()
    for pid in processes_with(word):
        with contextlib.suppress(OSError):
            found.add(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
    return found


def _out_of_time(engine: str) -> str:
    _, word = _held(engine, ["-l", "h_rt=20"])
    _all_gone(f"h_rt with the engine {engine}", word)
    return f"h_rt with {engine}: nothing is left"


def _address_space(engine: str) -> str:
    """h_vmem is a limit of the address space of each process, the tool's included."""
    tool = ["sh", "-c", "ulimit -v; exec perl -e '$x = q(a) x (600 << 20); print q(has it)'"]
    said = Job(engine, tool, ["-l", "h_vmem=512M"]).ended()
    if not said.startswith("524288\n") or "Out of memory" not in said or "has it" in said:
        raise Problem(f"h_vmem=512M with {engine} gave {said!r}", "expected Out of memory")
    return f"h_vmem with {engine}: a process that wants more is told that there is none"


def _all_together(engine: str) -> str:
    """h_vmem is also a limit of what all processes of the job have, the container's included."""
    word = f"together-{uuid.uuid4().hex}"
    one = "perl -e '$x = q(a); $x x= 200 << 20; sleep 300'"
    tool = ["sh", "-c", f"{one} & {one} & {one} & wait; echo waited", word]
    said = Job(engine, tool, ["-l", "h_vmem=512M"]).ended()
    _all_gone(f"h_vmem with the engine {engine}", word)
    if said:
        raise Problem(f"three processes in 512M with {engine} gave {said!r}", "expected a SIGKILL")
    return f"h_vmem with {engine}: three processes with more together are ended, without words"


def _interrupted(words: Sequence[str]) -> str:
    """An interrupt of a command that waits for its job ends the container."""
    word = f"interrupted-{uuid.uuid4().hex}"
    waiting = subprocess.Popen(
        [*words, "cwl-userspace", "run", IMAGE, *stubborn(word)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if not until(lambda: processes_with(f"{word}-child")):
            raise Problem(f"{words[0]} did not start a job", "see qstat -f")
        waiting.send_signal(signal.SIGINT)
        waiting.wait(60)
        if not until(lambda: not [pid for pid in processes_with(word) if pid != waiting.pid]):
            raise Problem(f"an interrupt of {words[0]} left {processes_with(word)}", "see ps")
    finally:
        waiting.kill()
        waiting.wait()
    return f"an interrupt of {words[0]} leaves nothing"


def _told() -> str:
    """What a job of two slots is told, and how its memory is counted."""
    job = Job("userns", ["sh", "-c", "ulimit -v"], ["-pe", "smp", "2", "-l", "h_vmem=512M"])
    said = job.ended().strip()
    if said != str(1024 * 1024):
        raise Problem(f"with -pe smp 2 and h_vmem=512M a tool has {said!r}", "expected 1048576")
    return "-pe smp 2: h_vmem is for each slot"


def _scratch() -> str:
    """$TMPDIR is the job's, takes the local store, and is gone with the job."""
    script = "cwl-userspace run debian:stable-slim true && ls -d $TMPDIR/trees/*/trees/*"
    words = ["qsub", "-sync", "y", "-V", "-cwd", "-j", "y", "-o", "scratch", "scratch.sh"]
    Path("scratch.sh").write_text(
        f"PATH=$SGE_O_PATH\nexport CWL_USERSPACE_LOCAL_STORE='$TMPDIR/trees'\n{script}\n"
    )
    output_of(*words)
    trees = Path("scratch").read_text().split()
    if len(trees) != 1 or not trees[0].startswith("/tmp/"):
        raise Problem(f"the local store in $TMPDIR has {trees}", "expected one tree below /tmp")
    if not until(lambda: not Path(trees[0]).exists()):
        raise Problem(f"{trees[0]} is left behind", "$TMPDIR should be removed with the job")
    return "$TMPDIR: has the local store, and is removed with the job"


if __name__ == "__main__":
    sys.exit(main())

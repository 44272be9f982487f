"""Shows on a cluster what the tests do not: who ran where, with which files, and what is left.

Run by the user who has run the tests, with SLURM_CONF, CWL_USERSPACE_HOME and
CWL_USERSPACE_LOCAL_STORE as they were then.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from conformance.problem import Problem
from conformance.seen import output_of, processes_with, stubborn, until

ENGINES = ("userns", "proot")
_JOB = re.compile(r"JobId=(\S+) .* Name=(.*) JobState=(\S+) .* NodeList=(\S+) ")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="conformance.slurm.evidence", description=__doc__)
    parser.add_argument("what", choices=("jobs", "store", "cancel"))
    parser.add_argument("--completed", type=Path, help="Slurm's record of its jobs")
    parser.add_argument("--log", type=Path, help="ours, of all runs")
    parser.add_argument("--image", default="docker.io/library/debian:stable-slim")
    options = parser.parse_args(argv)
    try:
        if options.what == "jobs":
            print(_jobs(options.completed))
        elif options.what == "store":
            for line in (_fetched(options.log), *_local(options.image), _apart()):
                print(line)
        else:
            for engine in ENGINES:
                print(_cancelled(engine, options.image))
    except Problem as problem:
        problem.report("conformance.slurm.evidence")
        return 1
    return 0


def _nodes() -> list[str]:
    return sorted(output_of("sinfo", "--noheader", "--Node", "--format=%N").split())


def _jobs(completed: Path) -> str:
    """Which node ran how many jobs, as Slurm has it; all nodes must have run some."""
    found = _JOB.findall(completed.read_text())
    by_node = Counter(node for _, _, _, node in found)
    states = Counter(state for _, _, state, _ in found)
    if missing := set(_nodes()) - set(by_node):
        raise Problem(f"no job ran on {', '.join(sorted(missing))}", f"see {completed}")
    told = ", ".join(f"{count} on {node}" for node, count in sorted(by_node.items()))
    ended = ", ".join(f"{count} {state.lower()}" for state, count in sorted(states.items()))
    return f"{len(found)} jobs: {told}; {ended}"


def _fetched(log: Path) -> str:
    """Each image was fetched into the store once, whichever jobs of whichever nodes wanted it."""
    said = "".join(path.read_text() for path in (log.with_name("log.old"), log) if path.exists())
    counts = Counter(re.findall(r" fetched (\S+) in ", said))
    if not counts or set(counts.values()) != {1}:
        raise Problem(f"images were fetched so often: {dict(counts)}", f"once each; see {log}")
    if refused := said.count("and not from a local disk"):
        raise Problem(f"{refused} runs took a tree from the shared store", f"see {log}")
    return f"{len(counts)} images fetched, each once; no run took a shared tree"


def _local(image: str) -> Iterator[str]:
    """Each node has trees of its own, and runs need nothing of the shared ones."""
    run = ("cwl-userspace", "run", image, "cat", "/etc/passwd")
    for node in _nodes():
        output_of("srun", "-w", node, *run)  # which makes its copy, if no test did so there
    place = f"{os.environ['CWL_USERSPACE_LOCAL_STORE']}/cwl-userspace-{os.getuid()}/trees"
    with _hidden(Path(os.environ["CWL_USERSPACE_HOME"], "trees")) as shared:
        for node in _nodes():
            trees = set(output_of("srun", "-w", node, "ls", place).split())
            if not trees or not trees <= shared:
                raise Problem(f"{node} has the trees {sorted(trees)}", f"of {sorted(shared)}")
            output_of("srun", "-w", node, *run)
            yield f"{node} has {len(trees)} trees in {place}; it ran one with the shared ones away"


@contextlib.contextmanager
def _hidden(trees: Path) -> Iterator[set[str]]:
    """Empty directories in place of the shared trees; the names of these."""
    found = [path for path in trees.iterdir() if (path / "rootfs").is_dir()]
    for path in found:
        (path / "rootfs").rename(path / "away")
        (path / "rootfs").mkdir()
    try:
        yield {path.name for path in found}
    finally:
        for path in found:
            (path / "rootfs").rmdir()
            (path / "away").rename(path / "rootfs")


def _apart() -> str:
    """A file in the /tmp of one node is not there on the others."""
    first, *others = _nodes()
    path = f"/tmp/{uuid.uuid4().hex}"
    output_of("srun", "-w", first, "touch", path)
    for node in others:
        output_of("srun", "-w", node, "test", "!", "-e", path)
    if output_of("srun", "-w", first, "ls", path).strip() != path or Path(path).exists():
        raise Problem(f"{first} has no /tmp of its own", f"{path} is elsewhere, too, or gone")
    return f"what {first} has in /tmp is seen on {first} alone"


def _cancelled(engine: str, image: str) -> str:
    """scancel of a job whose tool ignores SIGTERM and has a child in another session."""
    word = f"cancelled-{uuid.uuid4().hex}"
    words = ["cwl-userspace", "--engine", engine, "run", image, *stubborn(word)]
    step = subprocess.Popen(
        ["srun", "--job-name", word, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert step.stdout is not None
        if step.stdout.readline() != b"ready\n" or not until(
            lambda: processes_with(f"{word}-child")
        ):
            raise Problem(f"the job with the engine {engine} did not start", "see slurmd's log")
        before = len(processes_with(word))
        asked = time.monotonic()
        output_of("scancel", "--name", word)
        if not until(lambda: not processes_with(word)):
            raise Problem(f"scancel left {processes_with(word)} with the engine {engine}", "see ps")
        took = time.monotonic() - asked
        return f"scancel with {engine}: {before} processes that ignore SIGTERM gone in {took:.1f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(step.pid, signal.SIGKILL)
        step.wait()


if __name__ == "__main__":
    sys.exit(main())

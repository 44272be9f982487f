"""Time a scatter of one-line jobs through cwltool, beside the same with no container.

usage: python -m conformance.benchmarks.scatter [--jobs N] [--runs N] [--slow-jobs N] [IMAGE]

cwltool, cwltool-userspace and cwl-userspace are those of this Python's environment. IMAGE is in
the store, or can be pulled, and has echo. What is installed of podman and udocker is measured too,
if it has the image; udocker does --slow-jobs alone, and what that took beyond cwltool's own time
is multiplied. All take turns, --runs times over, so that a drift of the machine meets them all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

IMAGE = "docker.io/debian:stable-slim"
NONE = "no container"
TOOL = {
    "class": "CommandLineTool",
    "baseCommand": ["echo"],
    "inputs": {"x": {"type": "int", "inputBinding": {}}},
    "outputs": {"o": {"type": "stdout"}},
    "stdout": "out.txt",
}
WORKFLOW = {
    "cwlVersion": "v1.2",
    "class": "Workflow",
    "requirements": {"ScatterFeatureRequirement": {}},
    "inputs": {"xs": "int[]"},
    "outputs": {"o": {"type": "File[]", "outputSource": "s/o"}},
}


class Runner(NamedTuple):
    """A command to put before the document, and whether it is spared most of the jobs."""

    command: Sequence[str]
    slow: bool = False
    variables: Mapping[str, str] = {}
    # Not ours: a job that ended well and whose output is missing is told, and ends nothing.
    peer: bool = False


def runners(image: str) -> dict[str, Runner]:
    """No container, ours, and whatever peers are installed and have the image."""
    scripts = os.path.dirname(sys.executable)
    cwltool, ours = f"{scripts}/cwltool", [f"{scripts}/cwltool-userspace", "--parallel"]
    stock = [cwltool, "--parallel"]
    found = {
        NONE: Runner([*stock, "--no-container"]),
        "extension": Runner(ours, variables={"CWL_USERSPACE_ENGINE": "userns"}),
        "extension without its server": Runner(
            ours, variables={"CWL_USERSPACE_ENGINE": "userns", "CWL_USERSPACE_LAUNCHER": "off"}
        ),
        "--user-space-docker-cmd": Runner(
            [*stock, f"--user-space-docker-cmd={scripts}/cwl-userspace"],
            variables={"CWL_USERSPACE_ENGINE": "userns"},
        ),
    }
    # With the words that cwltool will use: podman's keep-id needs subordinate ids, for one.
    podman = ["podman", "run", "--rm", "--userns=keep-id", "--net=none", image, "true"]
    if shutil.which("podman") and _answers(podman):
        found["podman"] = Runner([*stock, "--podman"], peer=True)
    if shutil.which("udocker") and _answers(["udocker", "inspect", image]):
        found["udocker"] = Runner([*stock, "--user-space-docker-cmd=udocker"], slow=True, peer=True)
    return found


def _answers(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


def prepare(place: Path, image: str, numbers: Sequence[int]) -> None:
    """The workflow, and an order for each number of jobs."""
    tool = {**TOOL, "hints": {"DockerRequirement": {"dockerPull": image}}}
    step = {"run": tool, "scatter": "x", "in": {"x": "xs"}, "out": ["o"]}
    (place / "workflow.cwl").write_text(json.dumps({**WORKFLOW, "steps": {"s": step}}))
    for number in numbers:
        (place / f"{number}.json").write_text(json.dumps({"xs": list(range(number))}))


def measure(place: Path, runner: Runner, jobs: int) -> float:
    """Seconds of wall time; every job of ours must have printed its number."""
    words = [*runner.command, str(place / "workflow.cwl"), str(place / f"{jobs}.json")]
    with tempfile.TemporaryDirectory(dir=place) as outputs:
        start = time.perf_counter()
        done = subprocess.run(
            words,
            cwd=outputs,
            env={**os.environ, **runner.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"{' '.join(words)}: {done.returncode} {done.stderr.decode()[-2000:]}")
        printed = [Path(file["path"]).read_text() for file in json.loads(done.stdout)["o"]]
    lost = sum(text != f"{number}\n" for number, text in enumerate(printed))
    if lost:
        said = f"{' '.join(words)}: {lost} of {jobs} jobs did not print their number"
        if not runner.peer:
            sys.exit(said)
        print(said, file=sys.stderr)
    return seconds


def turn(place: Path, table: Mapping[str, Runner], jobs: int, few: int) -> dict[str, float]:
    """Seconds for all jobs; of who does few, what these took beyond no container, multiplied."""
    found = {
        name: measure(place, runner, jobs) for name, runner in table.items() if not runner.slow
    }
    for name, runner in table.items():
        if runner.slow:
            beyond = measure(place, runner, few) - measure(place, table[NONE], few)
            found[name] = found[NONE] + beyond * jobs / few
    return found


def show(table: Mapping[str, Runner], turns: Sequence[Mapping[str, float]], jobs: int) -> None:
    """Medians, and the ratio to no container of the same turn with its spread."""
    for name in turns[0]:
        seconds = statistics.median(found[name] for found in turns)
        ratios = [found[name] / found[NONE] for found in turns]
        line = f"{name:<30}{seconds:8.2f} s {jobs / seconds:8.1f} jobs/s"
        line += f"{statistics.median(ratios):8.2f} x ({min(ratios):.2f} to {max(ratios):.2f})"
        print(line + ("  scaled from fewer jobs" if table[name].slow else ""))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("image", nargs="?", default=IMAGE)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--slow-jobs", type=int, default=5)
    parser.add_argument("--only", default="", help="names of runners, with commas between them")
    given = parser.parse_args()
    ours = f"{os.path.dirname(sys.executable)}/cwl-userspace"
    subprocess.run([ours, "run", given.image, "true"], check=True)
    wanted = {NONE, *given.only.split(",")}
    table = {n: r for n, r in runners(given.image).items() if not given.only or n in wanted}
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        prepare(place, given.image, (given.jobs, given.slow_jobs))
        turns = [turn(place, table, given.jobs, given.slow_jobs) for _ in range(given.runs)]
    print(f"{given.jobs} jobs side by side, {os.cpu_count()} processors, {given.runs} turns")
    show(table, turns, given.jobs)


if __name__ == "__main__":
    main()

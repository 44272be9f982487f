"""A scatter of one-line jobs through cwltool, beside the same with no container."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from conformance.benchmarks import peers
from conformance.benchmarks.bench import IMAGE, Bench, ours, room
from conformance.benchmarks.peers import OURS, known
from conformance.benchmarks.tables import Table, rows
from conformance.benchmarks.turns import Failed, Taken, Way, said, take

NONE = "no container"
EXTENSION = "cwltool-userspace"
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
    note: str = ""


def measure(bench: Bench) -> list[Table]:
    """One table of the time that all jobs took."""
    starters = tuple(starter for way, starter in _PEERS.items() if bench.wants(way))
    here = known(bench._replace(ways=(OURS, *starters), exact=True) if bench.ways else bench)
    jobs, few = (40, 4) if bench.quick else (200, 10)
    with room(bench.scratch) as place:
        _documents(place, (jobs, few))
        names = {one.name for one in here.starters}
        table = {n: r for n, r in runners(names).items() if bench.wants(n, NONE, EXTENSION)}
        mine = (NONE, EXTENSION)
        ways = [
            Way(name, Scatter(place, runner, jobs, few, table[NONE]), needed=name in mine)
            for name, runner in table.items()
        ]
        # who is slow takes part in fewer turns, too
        ways = [way._replace(turns=3 if table[way.name].slow else 0) for way in ways]
        turns = take(ways, bench.number(5, 1))
    left_out = {
        way: here.left_out[starter] for way, starter in _PEERS.items() if starter in here.left_out
    }
    table_of = Table(
        name="scatter",
        title=f"A scatter of {jobs} one-line jobs through cwltool",
        unit="s",
        base=NONE,
        rows=rows(turns, NONE, notes={name: runner.note for name, runner in table.items()}),
        note=f"cwltool --parallel, {jobs} times echo. Where it says so, {few} jobs were run, and"
        " what they took beyond the same without a container was multiplied.",
        left_out={**left_out, **turns.left_out},
    )
    return [table_of]


PODMAN, UDOCKER = "cwltool --podman", "cwltool --user-space-docker-cmd=udocker"
# By what they start containers with here: a peer that starts none is no runner.
_PEERS = {PODMAN: "podman run", UDOCKER: peers.UDOCKER}


def runners(installed: set[str]) -> dict[str, Runner]:
    """No container, ours, and those peers that cwltool knows."""
    cwltool = f"{os.path.dirname(sys.executable)}/cwltool"
    stock, userns = [cwltool, "--parallel"], {"CWL_USERSPACE_ENGINE": "userns"}
    mine = [f"{os.path.dirname(sys.executable)}/cwltool-userspace", "--parallel"]
    off = {**userns, "CWL_USERSPACE_LAUNCHER": "off"}
    command = f"--user-space-docker-cmd={ours()}"
    found = {
        NONE: Runner([*stock, "--no-container"]),
        EXTENSION: Runner(mine, variables=userns),
        "cwltool-userspace without its server": Runner(mine, variables=off),
        "cwltool --user-space-docker-cmd=cwl-userspace": Runner([*stock, command], False, userns),
    }
    slow = {PODMAN: "--podman", UDOCKER: "--user-space-docker-cmd=udocker"}
    for way, option in slow.items():
        if _PEERS[way] in installed:
            found[way] = Runner([*stock, option], slow=True, note="few jobs")
    return found


def _documents(place: Path, numbers: Sequence[int]) -> None:
    """The workflow, and an order for each number of jobs."""
    tool = {**TOOL, "hints": {"DockerRequirement": {"dockerPull": IMAGE}}}
    step = {"run": tool, "scatter": "x", "in": {"x": "xs"}, "out": ["o"]}
    (place / "workflow.cwl").write_text(json.dumps({**WORKFLOW, "steps": {"s": step}}))
    for number in numbers:
        (place / f"{number}.json").write_text(json.dumps({"xs": list(range(number))}))


class Scatter:
    """A way to go: all jobs; of who is slow a few, multiplied."""

    def __init__(self, place: Path, runner: Runner, jobs: int, few: int, none: Runner) -> None:
        self._place, self._runner, self._none = place, runner, none
        self._jobs, self._few = jobs, few

    def __call__(self) -> Taken:
        if not self._runner.slow:
            return run(self._place, self._runner, self._jobs)
        beyond = run(self._place, self._runner, self._few).seconds
        beyond -= run(self._place, self._none, self._few).seconds
        alone = run(self._place, self._none, self._jobs).seconds
        return Taken(alone + beyond * self._jobs / self._few)


def run(place: Path, runner: Runner, jobs: int) -> Taken:
    """Once; every job must have printed its number. Raises Failed."""
    words = [*runner.command, str(place / "workflow.cwl"), str(place / f"{jobs}.json")]
    with tempfile.TemporaryDirectory(dir=place) as outputs:
        taken, printed = said(words, runner.variables, outputs)
        files = [Path(file["path"]).read_text() for file in json.loads(printed)["o"]]
    lost = sum(text != f"{number}\n" for number, text in enumerate(files))
    if lost:
        raise Failed(f"{lost} of {jobs} jobs did not print their number")
    return taken

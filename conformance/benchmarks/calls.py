"""System calls: how many a start makes, and what one costs inside beside outside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from conformance.benchmarks.bench import Bench
from conformance.benchmarks.peers import OURS, OURS_PROOT, known
from conformance.benchmarks.startup import BARE
from conformance.benchmarks.tables import Row, Table, rows
from conformance.benchmarks.turns import Failed, Taken, Way, take, timed

NATIVE = "true, no container"
OUTSIDE = "no container"
# Those who differ in what a call costs: all others use name spaces as bwrap does.
INSIDE = (OURS, OURS_PROOT, "bwrap alone", "proot alone", "ch-run", "fakechroot")
# A loop that ends in this time, in seconds, is long enough.
_LOOP = 0.4
_FIRST, _MOST = 100, 2_000_000
# What the words do N times over, and with how many system calls each time.
LOOPS = (
    ("read and write", ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count={n}"], 2),
    ("stat", ["perl", "-e", 'stat "/usr/bin/perl" for 1..{n}'], 1),
    ("fork and exec", ["perl", "-e", 'system "/bin/true" for 1..{n}'], 1),
)


def measure(bench: Bench) -> list[Table]:
    """How many calls, and a table of their price for each loop."""
    return [_counts(bench), *(_prices(bench, *loop) for loop in LOOPS)]


def _counts(bench: Bench) -> Table:
    here = known(bench)
    commands = {NATIVE: ["true"], BARE: [sys.executable, "-c", "pass"]}
    commands |= {one.name: one.words(["true"], []) for one in here.starters}
    left_out = dict(here.left_out)
    found = []
    if not shutil.which("strace"):
        left_out = dict.fromkeys(commands, "strace is not installed")
    for name, command in commands.items():
        if name not in left_out:
            try:
                found.append(Row(name, [float(count(command))]))
            except Failed as failed:
                left_out[name] = str(failed)
    base = next((row.values[0] for row in found if row.name == BARE), 0.0)
    return Table(
        name="calls",
        title="System calls of a start of true",
        unit="calls",
        base=BARE if base else "",
        rows=[row._replace(ratios=[row.values[0] / base]) for row in found if base],
        note="By strace -f -c, of all processes. Who traces processes himself, as proot does,"
        " cannot be traced. A runtime that goes on in the background is counted to its end.",
        left_out=left_out,
    )


def count(command: Sequence[str]) -> int:
    """The calls of a command and all its children, the second time. Raises Failed."""
    timed(command)
    with tempfile.NamedTemporaryFile("r") as summary:
        words = ["strace", "-f", "-c", "-qq", "-U", "calls,name", "-o", summary.name, *command]
        try:
            done = subprocess.run(words, capture_output=True, timeout=120, check=False)
        except subprocess.TimeoutExpired as error:
            raise Failed("does not end under strace") from error
        total = re.search(r"^\s*(\d+) total$", summary.read(), re.MULTILINE)
    if done.returncode or not total:
        raise Failed(f"does not run under strace: {done.stderr.decode()[-150:].strip()}")
    return int(total[1])


def _prices(bench: Bench, name: str, words: Sequence[str], each: int) -> Table:
    """Nanoseconds for one call, the start of the container taken off."""
    here = known(bench)
    outside = [Way(OUTSIDE, Loop([], words, each), needed=True)]
    ways = outside + [
        Way(one.name, Loop(one.words([], []), words, each)) for one in here.named(*INSIDE)
    ]
    turns = take(ways, bench.number(5, 2))
    return Table(
        name=f"price of {name}",
        title=f"Cost of a call: {name}",
        unit="s",
        base=OUTSIDE,
        rows=rows(turns, OUTSIDE),
        note=f"One round of: {' '.join(words)}"
        + (f", which makes {each} calls, for each of them." if each > 1 else "."),
        left_out=turns.left_out,
    )


class Loop:
    """A way to go: so many rounds that they can be timed, less the same with no round."""

    def __init__(self, prefix: Sequence[str], words: Sequence[str], each: int) -> None:
        self._prefix, self._words, self._each = prefix, words, each
        self._rounds = 0

    def __call__(self) -> Taken:
        start = self._timed(1)
        if not self._rounds:
            self._rounds = self._enough(start)
        seconds = max(self._timed(self._rounds) - start, 1e-9)
        return Taken(seconds / self._rounds / self._each)

    def _enough(self, start: float) -> int:
        rounds = _FIRST
        while rounds < _MOST:
            seconds = max(self._timed(rounds) - start, 1e-4)
            if seconds > _LOOP / 2:
                break
            rounds = min(int(rounds * min(10.0, _LOOP / seconds)) + 1, _MOST)
        return rounds

    def _timed(self, rounds: int) -> float:
        words = [word.replace("{n}", str(rounds)) for word in self._words]
        return timed([*self._prefix, *words], directory=os.sep).seconds

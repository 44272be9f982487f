"""How the cost of a run grows: with jobs at once, and with what is mounted."""

from __future__ import annotations

import functools
import sys

from conformance.benchmarks.bench import Bench, room
from conformance.benchmarks.peers import OURS, Starter, known
from conformance.benchmarks.startup import BARE
from conformance.benchmarks.tables import Row, Table, rows
from conformance.benchmarks.turns import Timed, Way, take, together

JOBS, QUICK_JOBS = (1, 2, 4, 8, 16, 32, 64), (1, 8, 64)
MOUNTS, QUICK_MOUNTS = (0, 1, 10, 100, 1000), (0, 10, 1000)
# Who takes a tenth of a second or more for one is spared the most.
_SLOW, _FEW_JOBS, _FEW_MOUNTS = ("podman", "udocker"), 16, 100


def jobs(bench: Bench) -> list[Table]:
    """The time until the last of N that were started at once has ended."""
    here = known(bench)
    chosen = [one for one in here.starters if one.turns == 0 and "beneath" not in one.name]
    found: list[Row] = []
    left_out = dict(here.left_out)
    for number in bench.jobs or (QUICK_JOBS if bench.quick else JOBS):
        bare = [[sys.executable, "-c", "pass"]] * number
        ways = [Way(BARE, functools.partial(together, bare), needed=True)]
        for one in chosen:
            if not (_slow(one) and number > _FEW_JOBS) and one.name not in left_out:
                commands = [one.words(["true"], [])] * number
                go = functools.partial(together, commands)
                ways.append(Way(one.name, go, needed=one.name == OURS))
        turns = take(ways, bench.number(3, 1), warm=number == 1)
        found += rows(turns, BARE, at=float(number))
        left_out |= turns.left_out
    return [
        Table(
            "jobs", "Containers of true that are started at once", "s", found, BARE,
            axis="at once", note="The time until the last has ended.", left_out=left_out,
        )
    ]  # fmt: skip


def mounts(bench: Bench) -> list[Table]:
    """The start of true with so many files mounted, as a job with so many inputs has them."""
    here = known(bench)
    able = ("ours, userns", "ours, proot", "bwrap alone", "proot alone", "runc", "podman run")
    found: list[Row] = []
    left_out: dict[str, str] = {}
    with room(bench.scratch) as place:
        for number in bench.mounts or (QUICK_MOUNTS if bench.quick else MOUNTS):
            paths = [str(place / f"input-{n}") for n in range(number)]
            for path in paths:
                with open(path, "w") as file:
                    file.write("an input\n")
            ways = [Way(BARE, Timed([sys.executable, "-c", "pass"]), needed=True)]
            ways += [
                Way(one.name, Timed(one.words(["true"], paths)), needed=one.name == OURS)
                for one in here.named(*able)
                if one.name not in left_out and not (_slow(one) and number > _FEW_MOUNTS)
            ]
            turns = take(ways, bench.number(5, 2), warm=True)
            found += rows(turns, BARE, at=float(number))
            left_out |= turns.left_out
    return [
        Table(
            "mounts", "Start of true with files mounted", "s", found, BARE,
            axis="files mounted", left_out=left_out,
        )
    ]  # fmt: skip


def _slow(one: Starter) -> bool:
    return one.name.startswith(_SLOW)

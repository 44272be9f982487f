"""The one way to time: all ways take turns, so that a drift of the machine meets them all.

What is compared are ratios within a turn. Who begins changes from turn to turn, because who comes
after something heavy finds a warmer processor and a fuller cache.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Failed(Exception):
    """A way that did not get there; its text is what it said."""


class Taken(NamedTuple):
    """What one go took: seconds of wall time, bytes of memory and of disk, and files made."""

    seconds: float
    # Of the largest process.
    memory: int = 0
    disk: int = 0
    files: int = 0
    # Seconds of processors, of all processes that were waited for.
    processor: float = 0.0


class Way(NamedTuple):
    """One of those that take turns."""

    name: str
    go: Callable[[], Taken]
    # Without it the others mean nothing: that it fails ends the measurement.
    needed: bool = False
    # One that is slow takes part in so many turns only, the first ones; 0 for all.
    turns: int = 0


class Timed:
    """A way to go: this command, timed."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command

    def __call__(self) -> Taken:
        return timed(self._command)


class Turns(NamedTuple):
    """What came of it: for each way its goes, by turn, and why others have none."""

    taken: dict[str, list[Taken]]
    left_out: dict[str, str]


def take(ways: Sequence[Way], turns: int, warm: bool = False) -> Turns:
    """Let the ways take turns; with ``warm`` a turn before the first does not count.

    Raises Failed if a needed way fails; any other is left out from then on.
    """
    taken: dict[str, list[Taken]] = {way.name: [] for way in ways}
    left_out: dict[str, str] = {}
    for turn in range(-1 if warm else 0, turns):
        first = turn % len(ways)
        for way in (*ways[first:], *ways[:first]):
            if way.name in left_out or (way.turns and turn >= way.turns):
                continue
            try:
                one = way.go()
            except Failed as failed:
                if way.needed:
                    raise
                print(f"{way.name}: left out: {failed}", file=sys.stderr)
                left_out[way.name] = str(failed).strip()[-300:]
                continue
            if turn >= 0:
                taken[way.name].append(one)
    return Turns({n: goes for n, goes in taken.items() if n not in left_out}, left_out)


def timed(
    command: Sequence[str],
    variables: Mapping[str, str] | None = None,
    directory: str | Path | None = None,
) -> Taken:
    """Run a command to its end; ``variables`` are added to ours. Raises Failed with its words."""
    return said(command, variables, directory)[0]


def said(
    command: Sequence[str],
    variables: Mapping[str, str] | None = None,
    directory: str | Path | None = None,
) -> tuple[Taken, bytes]:
    """As timed, with what it wrote to its standard output."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        words = [sys.executable, "-I", "-S", "-c", _WATCH]
        with tempfile.TemporaryFile() as found:
            done = subprocess.run(
                [*words, str(found.fileno()), *command],
                cwd=directory,
                env={**os.environ, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=error,
                pass_fds=[found.fileno()],
                check=False,
            )
            found.seek(0)
            told = found.read().split()
        for file in (out, error):
            file.seek(0)
        if done.returncode or len(told) != 3:
            # What it complained of comes last: whoever shortens this keeps the end.
            text = (out.read()[-500:] + b" " + error.read()).decode(errors="replace")
            why = f"{' '.join(command)[:200]}: {done.returncode} {' '.join(text.split())[-2000:]}"
            raise Failed(why)
        return Taken(float(told[0]), int(told[1]) << 10, processor=float(told[2])), out.read()


# Starts the command from a process that is small: the most memory that the kernel reports of one
# is at least that of who started it. SIGPIPE and SIGXFSZ, which Python ignores, are as they were.
_WATCH = """
import os, signal, sys, time
start = time.perf_counter()
pid = os.posix_spawnp(
    sys.argv[2], sys.argv[2:], os.environ, setsigdef=(signal.SIGPIPE, signal.SIGXFSZ)
)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - start
used = usage.ru_utime + usage.ru_stime
os.write(int(sys.argv[1]), f"{seconds:.9f} {usage.ru_maxrss} {used:.6f}".encode())
sys.exit(os.waitstatus_to_exitcode(status) % 256)
"""


def together(
    commands: Sequence[Sequence[str]], variables: Mapping[str, str] | None = None
) -> Taken:
    """Start all of them at once; the time until the last has ended. Raises Failed if one fails."""
    environment = {**os.environ, **(variables or {})}
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        processes = [
            subprocess.Popen(
                words,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
            for words in commands
        ]
        codes = [process.wait() for process in processes]
        seconds = time.perf_counter() - start
        if any(codes):
            errors.seek(0)
            text = " ".join(errors.read().decode(errors="replace").split())
            failed = sum(map(bool, codes))
            raise Failed(f"{failed} of {len(codes)} at once failed: {text[:1500]}")
        return Taken(seconds)


def ratios(own: Sequence[float], base: Sequence[float]) -> list[float]:
    """Of each turn that both have."""
    return [mine / other for mine, other in zip(own, base, strict=False)]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)

"""What stands beside a tool while it runs: the memory of every process that is not the tool's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from conformance.benchmarks.bench import Bench
from conformance.benchmarks.peers import Starter, known
from conformance.benchmarks.tables import Table, rows
from conformance.benchmarks.turns import Failed, Taken, Way, take

# So that it is told from every other sleep.
_SLEEP = ["sleep", "98765"]
_PATIENCE = 60.0
BASE = "bwrap alone"


def measure(bench: Bench) -> list[Table]:
    """One table, of shares of memory: pages that several have are divided among them."""
    here = known(bench)
    ways = [Way(one.name, Beside(one)) for one in here.starters]
    turns = take(ways, bench.number(3, 1))
    base = BASE if BASE in turns.taken else ""
    table = Table(
        name="memory",
        title="Memory of what stands beside a tool that runs",
        unit="B",
        base=base,
        rows=rows(turns, base, lambda one: float(one.memory)),
        note="Proportional set sizes of all processes that were not there before but the tool.",
        left_out={**here.left_out, **turns.left_out},
    )
    return [table]


class Beside:
    """A way to go: a container of a sleeping tool, looked at and ended."""

    def __init__(self, starter: Starter) -> None:
        self._words = starter.words(_SLEEP, [])

    def __call__(self) -> Taken:
        before, start = _processes(), time.perf_counter()
        process = subprocess.Popen(
            self._words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        tool = 0
        try:
            tool = _tool(process, before)
            seconds = time.perf_counter() - start
            shares = [_share(one) for one in _processes() - before - {tool}]
            return Taken(seconds, memory=sum(shares))
        finally:
            _end(process, tool)


def _processes() -> set[int]:
    """Of this user."""
    own = os.getuid()
    found = set()
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == own:
                found.add(int(name))
    return found


def _tool(process: subprocess.Popen[bytes], before: set[int]) -> int:
    """The sleep itself, once it is there. Raises Failed if that never comes."""
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        for one in _processes() - before:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")[:2] == [
                    b"sleep",
                    b"98765",
                ]:
                    return one
        time.sleep(0.02)
    raise Failed("the tool was never seen")


def _share(process: int) -> int:
    """Its proportional set size in bytes; of who has gone meanwhile, none."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except OSError as error:
        raise Failed(f"its memory cannot be read: {error.strerror}") from error
    found = [line.split()[1] for line in text.splitlines() if line.startswith("Pss:")]
    return int(found[0]) << 10 if found else 0


def _end(process: subprocess.Popen[bytes], tool: int) -> None:
    """The tool first, so that everything else ends as it does when a tool has ended."""
    if tool:
        with contextlib.suppress(OSError):
            os.kill(tool, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
    process.kill()
    process.wait()

"""See with the kernel's eyes which engine runs the tools: look at this user's processes meanwhile.

In namespaces a tool has a process id of its own there (NSpid has two, proc(5)); under proot it is
traced by a process of that name. Tools that end between two looks are not seen.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

PAUSE = 0.02


class Witness:
    """The processes that were seen under each engine."""

    def __init__(self) -> None:
        self.seen: dict[str, set[str]] = {"userns": set(), "proot": set()}
        self._ended = threading.Event()

    def look(self) -> None:
        """Look once at every process of this user."""
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError, KeyError, IndexError, ValueError):
                if os.stat(f"/proc/{name}").st_uid == os.geteuid():
                    self._judge(name)

    def _judge(self, pid: str) -> None:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
        facts = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        own = Path("/proc/self/status").read_text().partition("NSpid:\t")[2].split("\n")[0]
        tracer = facts["TracerPid"].strip()
        if len(facts["NSpid"].split()) > len(own.split()):
            self.seen["userns"].add(pid)
        elif tracer != "0" and Path(f"/proc/{tracer}/comm").read_text().startswith("proot"):
            self.seen["proot"].add(pid)

    def complaint(self, engine: str, containers: bool = True) -> str:
        """What contradicts that this engine ran everything; nothing if all is well.

        Without containers among what ran there was nothing to be seen.
        """
        for name, seen in self.seen.items():
            if engine == name and containers and not seen:
                return f"no process was seen under the engine {name}"
            if engine in self.seen and engine != name and seen:
                return f"{len(seen)} processes were seen under {name}, not {engine}"
        return ""

    def counts(self) -> dict[str, int]:
        """How many processes were seen under each engine, of those that were seen at all."""
        return {name: len(seen) for name, seen in self.seen.items() if seen}


@contextlib.contextmanager
def watching() -> Iterator[Witness]:
    """A witness that looks again and again until the end of the block."""
    witness = Witness()

    def watch() -> None:
        while not witness._ended.wait(PAUSE):
            witness.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield witness
    finally:
        witness._ended.set()
        thread.join()

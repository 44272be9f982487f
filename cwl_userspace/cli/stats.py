"""``stats``: what running containers take of memory and processors."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from cwl_userspace import runs
from cwl_userspace.cli import subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.listing import FORMAT, listing
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.memory import TreeMemory, below

OPTIONS = (
    Option("--no-trunc", FLAG, "whole ids"),
    Option("--no-stream", FLAG, "once, not until the containers end"),
    FORMAT,
    Option("-a --all", FLAG, "accepted: what does not run has no memory"),
    Option("--help", FLAG, "show this text"),
)
_PAUSE = 1.0
_TITLES = {
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "PIDs": "PIDS",
}
_NAMES = {"Container": "CONTAINER", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O"}
_UNKNOWN = "--"
_TICKS = os.sysconf("SC_CLK_TCK")


def command(context: Context, argv: Sequence[str]) -> int:
    """Print what containers, or all that run, take; again and again until they have ended."""
    words = parse("stats", OPTIONS, argv)
    if words.flag("help"):
        return show("stats", "[OPTIONS] [CONTAINER...]", OPTIONS)
    watched = [Watched(subjects.find(context, text).run(), text) for text in words.arguments]
    if not words.arguments:
        live = runs.running(context.settings.state)
        watched = [Watched(record, record["id"][:12]) for record in live]
    while True:
        watched = [one for one in watched if one.runs()]
        if not watched and words.arguments:
            return 0
        rows = [one.row(words.flag("no-trunc")) for one in watched]
        print(listing(words.value("format"), _TITLES, rows, _NAMES), end="", flush=True)
        if words.flag("no-stream") or not watched:
            return 0
        time.sleep(_PAUSE)


class Watched:
    """A running container, looked at again and again."""

    def __init__(self, record: dict[str, Any], shown: str) -> None:
        self._record = record
        self._shown = shown
        self._tree: TreeMemory | None = None
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._limit = min(record.get("limits", {}).get("memory") or total, total)
        self._before = (record["time"], 0.0)

    def runs(self) -> bool:
        """True until it has ended."""
        return runs.start_time(self._record["pid"]) == str(self._record["start"])

    def row(self, whole: bool) -> dict[str, str]:
        """What it takes now; processor time since the last look, the first time since the start."""
        record = self._record
        keeper = next(iter(below(record["pid"])), 0)
        if self._tree is None and keeper:
            self._tree = TreeMemory(keeper)
        used = self._tree.exactly() if self._tree is not None else 0
        pids = below(keeper) if keeper else []
        moment, (then, before) = time.time(), self._before
        seconds = sum(map(_processor_time, pids))
        self._before = (moment, seconds)
        share = max(seconds - before, 0.0) / max(moment - then, 1 / _TICKS)
        return {
            "Container": self._shown,
            "ID": record["id"] if whole else record["id"][:12],
            "Name": record["name"] or record["id"][:12],
            "CPUPerc": f"{100 * share:.2f}%",
            "MemUsage": f"{used / (1 << 20):.1f}MiB / {self._limit / (1 << 20):.1f}MiB",
            "MemPerc": f"{100 * used / self._limit:.2f}%",
            "NetIO": _UNKNOWN,
            "BlockIO": _UNKNOWN,
            "PIDs": str(len(pids)),
        }


def _processor_time(pid: int) -> float:
    """Seconds that a process and its children that have ended were on a processor (proc(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS
    except (OSError, ValueError):
        return 0.0

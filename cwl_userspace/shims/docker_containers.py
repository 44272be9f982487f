"""``docker top`` and ``container prune``, which none of our own verbs does."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cwl_userspace import ended
from cwl_userspace.cli import subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.table import table
from cwl_userspace.cli.words import FLAG, LIST, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.memory import below

_PRUNE = (Option("-f --force", FLAG, "do not ask"), Option("--filter", LIST, "", "KEY=VALUE"))
_TOP = ("UID", "PID", "PPID", "TIME", "CMD")
_TICKS = os.sysconf("SC_CLK_TCK")


def top(context: Context, argv: Sequence[str]) -> int:
    """List the processes of a container that runs, with the numbers that the host gives them."""
    words = parse("top", (), argv, options_end_at_argument=True)
    if not words.arguments:
        raise UsageError("top needs a container", "give its name, or its id from --cidfile")
    run = subjects.find(context, words.arguments[0]).run()
    keeper = next(iter(below(run["pid"])), 0)
    rows = [row for pid in below(keeper) if (row := _process(pid))]
    print(table({title: title for title in _TOP}, rows), end="")
    return 0


def container_prune(context: Context, argv: Sequence[str]) -> int:
    """Forget containers that have ended; what create has made stays, until rm."""
    words = parse("container prune", _PRUNE, argv)
    if words.list("filter"):
        raise UsageError("container prune has no filters here", "leave --filter out")
    if not words.flag("force"):
        raise UsageError("container prune would ask first", "give --force")
    print("Deleted Containers:")
    for subject in subjects.every(context):
        if subject.made is None and subject.state == subjects.EXITED:
            ended.forget(context.settings.state, subject.id)
            print(subject.id)
    return 0


def _process(pid: int) -> dict[str, str]:
    """What ps shows of a process; nothing if it has ended (proc(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            name, _, rest = file.read().partition(b"(")[2].rpartition(b")")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            argv = file.read().rstrip(b"\0").replace(b"\0", b" ")
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return {}
    fields = rest.split()
    seconds = sum(map(int, fields[11:13])) // _TICKS
    shown = os.fsdecode(argv) or f"[{os.fsdecode(name)}]"
    return {
        "UID": str(owner),
        "PID": str(pid),
        "PPID": fields[1].decode(),
        "TIME": f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}",
        "CMD": "".join(c if c.isprintable() else "?" for c in shown),
    }

"""``stats``: the memory of a running container, as cwltool reads it from ``docker stats``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from cwl_userspace import runs
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.memory import TreeMemory, below

OPTIONS = (
    Option("--no-trunc", FLAG, "whole ids"),
    Option("--no-stream", FLAG, "once, not until the container ends"),
    Option("--format", VALUE, "what to print; {{.MemPerc}} and {{.MemUsage}}", "TEMPLATE"),
    Option("-a --all", FLAG, "accepted"),
    Option("--help", FLAG, "show this text"),
)
_PAUSE = 1.0
_TABLE = "{{.ID}}  {{.Name}}  {{.MemUsage}}  {{.MemPerc}}"


def command(context: Context, argv: Sequence[str]) -> int:
    """Print the memory that a container takes, again and again until it ends."""
    words = parse("stats", OPTIONS, argv)
    if words.flag("help"):
        return show("stats", "[OPTIONS] CONTAINER", OPTIONS)
    if len(words.arguments) != 1:
        raise UsageError("stats needs one container", "give its name, or its id from --cidfile")
    record = runs.find(context.settings.state, words.arguments[0])
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = min(record.get("limits", {}).get("memory") or total, total)
    tree: TreeMemory | None = None
    while runs.start_time(record["pid"]) == record["start"]:
        keeper = next(iter(below(record["pid"])), 0)
        if tree is None and keeper:
            tree = TreeMemory(keeper)
        used = tree.exactly() if tree is not None else 0
        values = {
            "{{.ID}}": record["id"] if words.flag("no-trunc") else record["id"][:12],
            "{{.Name}}": record["name"] or record["id"][:12],
            "{{.MemUsage}}": f"{used / (1 << 20):.1f}MiB / {limit / (1 << 20):.1f}MiB",
            "{{.MemPerc}}": f"{100 * used / limit:.2f}%",
        }
        line = words.value("format", _TABLE)
        for field, text in values.items():
            line = line.replace(field, text)
        print(line, flush=True)
        if words.flag("no-stream"):
            break
        time.sleep(_PAUSE)
    return 0

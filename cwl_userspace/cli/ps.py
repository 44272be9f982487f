"""``ps``: the containers that run, and with ``-a`` also those that ``create`` made."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence

from cwl_userspace import containers, runs
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.table import table
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records

OPTIONS = (
    Option("-a --all", FLAG, "also what does not run now"),
    Option("-q --quiet", FLAG, "only the ids"),
    Option("--no-trunc", FLAG, "whole ids"),
    Option("--format", VALUE, "json: one object a line", "json"),
    Option("--help", FLAG, "show this text"),
)
_TITLES = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "CreatedAt": "CREATED",
    "Status": "STATUS",
    "Names": "NAMES",
}


def command(context: Context, argv: Sequence[str]) -> int:
    """List containers: each that was created, and each run of an image while it lasts."""
    words = parse("ps", OPTIONS, argv)
    if words.flag("help"):
        return show("ps", "[OPTIONS]", OPTIONS)
    if words.arguments:
        raise UsageError(f"ps has no argument {words.arguments[0]!r}", "see cwl-userspace ps -a")
    if words.value("format") not in ("", "json"):
        raise UsageError(f"--format is {words.value('format')!r}", "expected json")
    context.store.check()
    rows = list(_rows(context, words.flag("all")))
    if not words.flag("no-trunc"):
        rows = [{**row, "ID": row["ID"][:12]} for row in rows]
    if words.flag("quiet"):
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    elif words.value("format") == "json":
        print("".join(f"{json.dumps(row)}\n" for row in rows), end="")
    else:
        print(table(_TITLES, rows), end="")
    return 0


def _rows(context: Context, everything: bool) -> Iterator[dict[str, str]]:
    """Runs in a container count as that container: as long as one lasts, it is up."""
    running = list(runs.running(context.settings.state))
    for container in containers.every(context.store):
        processes = [str(r["pid"]) for r in running if r.get("container") == container.id]
        if processes or everything:
            yield {
                "ID": container.id,
                "Image": container.image_name,
                "CreatedAt": _time(container.created),
                "State": "running" if processes else "created",
                "Status": f"Up (process {', '.join(processes)})" if processes else "Created",
                "Names": container.name,
            }
    for record in running:
        if not record.get("container"):
            yield {
                "ID": record["id"],
                "Image": _image(context, record["image"]),
                "CreatedAt": _time(record["time"]),
                "State": "running",
                "Status": f"Up (process {record['pid']})",
                "Names": record["name"] or record["id"][:12],
            }


def _image(context: Context, identifier: str) -> str:
    """A name of an image; the beginning of its id where it has none."""
    for name, image in records.names(context.store):
        if image == identifier:
            return ImageReference.parse(name).familiar
    return identifier.removeprefix("sha256:")[:12]


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))

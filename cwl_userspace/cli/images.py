"""``images``: what the store holds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.table import table
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import ImageNotFound, UsageError
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records

OPTIONS = (
    Option("-q --quiet", FLAG, "only the ids"),
    Option("-a --all", FLAG, "accepted: all are always listed"),
    Option("--no-trunc", FLAG, "whole ids"),
    Option("--format", VALUE, "json: one object a line", "json"),
    Option("--help", FLAG, "show this text"),
)
_TITLES = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "ID": "IMAGE ID",
    "CreatedAt": "FETCHED",
    "Size": "SIZE",
}
_WHERE = {"Store": "STORE"}
_NONE = "<none>"


def command(context: Context, argv: Sequence[str]) -> int:
    """List all images, or those of one repository or name."""
    words = parse("images", OPTIONS, argv)
    if words.flag("help"):
        return show("images", "[OPTIONS] [NAME]", OPTIONS)
    if words.value("format") not in ("", "json"):
        raise UsageError(f"--format is {words.value('format')!r}", "expected json")
    context.store.check()
    rows = [_cells(row, words.flag("no-trunc")) for row in _rows(context, words.arguments)]
    if words.flag("quiet"):
        rows = [{"ID": identifier} for identifier in dict.fromkeys(row["ID"] for row in rows)]
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    elif words.value("format") == "json":
        print("".join(f"{json.dumps(row)}\n" for row in rows), end="")
    else:
        several = _WHERE if context.settings.beneath else {}
        print(table({**_TITLES, **several}, rows), end="")
    return 0


def _rows(context: Context, wanted: Sequence[str]) -> Iterator[tuple[str, str, records.Record]]:
    named = set()
    for name, _ in records.names(context.store):
        reference = ImageReference.parse(name)
        if wanted and not _is_wanted(reference, wanted[0]):
            continue
        try:
            record = records.by_reference(context.store, reference)
        except ImageNotFound:
            continue
        named.add(record.id.hex)
        tag = reference.tag if reference.tag and not reference.digest else _NONE
        short = ImageReference(reference.registry, reference.repository, None).familiar
        yield short, tag, record
    for identifier in records.identifiers(context.store):
        if identifier not in named and not wanted:
            yield _NONE, _NONE, records.by_id(context.store, identifier)


def _is_wanted(reference: ImageReference, wanted: str) -> bool:
    asked = ImageReference.parse(wanted)
    same = asked.name == reference.name
    explicit = asked.digest is not None or ":" in wanted.rpartition("/")[2]
    return same and (not explicit or records.key_of(asked) == records.key_of(reference))


def _cells(row: tuple[str, str, records.Record], whole: bool) -> dict[str, str]:
    repository, tag, record = row
    return {
        "Repository": repository,
        "Tag": tag,
        "ID": str(record.id) if whole else record.id.hex[:12],
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(record.created)),
        "Size": _human(record.size),
        "Store": record.store,
    }


def _human(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g}{unit}"
        size /= 1000
    return f"{size:.3g}TB"

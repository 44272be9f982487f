"""``images``: what the store holds."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.table import human_size, table
from cwl_userspace.cli.template import render
from cwl_userspace.cli.words import FLAG, LIST, VALUE, Option, Words, parse
from cwl_userspace.errors import ImageNotFound, UsageError
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records
from cwl_userspace.store.protect import is_protected
from cwl_userspace.store.sizes import Sizes, sizes
from cwl_userspace.store.users import last_use

OPTIONS = (
    Option("-q --quiet", FLAG, "only the ids"),
    Option("-a --all", FLAG, "accepted: all are always listed"),
    Option("-s --size", FLAG, "look at every file: what images have in common, and alone"),
    Option("--digests", FLAG, "the digest of each manifest"),
    Option("--no-trunc", FLAG, "whole ids"),
    Option("-f --filter", LIST, "dangling=, protected= or reference=PATTERN", "KEY=VALUE"),
    Option("--format", VALUE, "json: an object a line; or {{.ID}} and the like", "TEMPLATE"),
    Option("--help", FLAG, "show this text"),
)
_TITLES = {"Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "FetchedSince": "FETCHED",
           "Size": "SIZE"}  # fmt: skip
_WHERE = {"Store": "STORE"}
_SIZES = {"SharedSize": "SHARED", "UniqueSize": "UNIQUE"}
_NONE = "<none>"
_UNKNOWN = "N/A"
_YES = {"true": True, "1": True, "false": False, "0": False}
_STEPS = ((60, "second"), (60, "minute"), (24, "hour"), (7, "day"), (52, "week"), (1e9, "year"))


class Row(NamedTuple):
    """One line of the list: a name of an image, or an image without a name."""

    reference: ImageReference | None
    record: records.Record
    protected: bool


def command(context: Context, argv: Sequence[str]) -> int:
    """List all images, or those of one repository or name, in the order of names."""
    words = parse("images", OPTIONS, argv)
    if words.flag("help"):
        return show("images", "[OPTIONS] [NAME]", OPTIONS)
    context.store.check()
    rows = [row for row in _rows(context, words.arguments) if _passes(row, words.list("filter"))]
    form = words.value("format")
    if words.flag("quiet"):
        short = (_identifier(row.record, words) for row in rows)
        print("".join(f"{identifier}\n" for identifier in dict.fromkeys(short)), end="")
        return 0
    deep = words.flag("size") or "SharedSize" in form or "UniqueSize" in form
    measured = _measured(context, rows) if deep else {}
    cells = [_cells(context, row, words, measured) for row in rows]
    if form and form != "table":
        print("".join(f"{render(form, line)}\n" for line in cells), end="")
    else:
        several = _WHERE if context.settings.beneath else {}
        print(table({**_titles(words, rows), **several}, cells), end="")
    return 0


def _titles(words: Words, rows: Sequence[Row]) -> dict[str, str]:
    titles = dict(_TITLES)
    if words.flag("digests"):
        titles = {"Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", **titles}
    if words.flag("size"):
        titles |= _SIZES
    if any(row.protected for row in rows):
        titles["Protected"] = "PROTECTED"
    return titles


def _rows(context: Context, wanted: Sequence[str]) -> Iterator[Row]:
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
        yield Row(reference, record, is_protected(context.store, name))
    for identifier in records.identifiers(context.store):
        if identifier not in named and not wanted:
            yield Row(None, records.by_id(context.store, identifier), False)


def _is_wanted(reference: ImageReference, wanted: str) -> bool:
    asked = ImageReference.parse(wanted)
    same = asked.name == reference.name
    explicit = asked.digest is not None or ":" in wanted.rpartition("/")[2]
    return same and (not explicit or records.key_of(asked) == records.key_of(reference))


def _passes(row: Row, filters: Sequence[str]) -> bool:
    """True if a row fits all filters; raise UsageError for one that is not known."""
    return all(_fits(row, *text.partition("=")[::2]) for text in filters)


def _fits(row: Row, key: str, value: str) -> bool:
    if key == "reference":
        named = row.reference
        if named is None:
            return False
        shown = (named.familiar, str(named), named.familiar.rpartition(":")[0], named.name)
        return any(fnmatch.fnmatchcase(text, value) for text in shown)
    if key in ("dangling", "protected") and value in _YES:
        return (row.reference is None if key == "dangling" else row.protected) == _YES[value]
    raise UsageError(
        f"the filter {key}={value} is not known",
        "expected dangling=true, protected=true or reference=PATTERN",
    )


def _measured(context: Context, rows: Sequence[Row]) -> dict[str, Sizes]:
    """The sizes of each tree; one that several images have is shared as a whole."""
    images: dict[str, set[str]] = {}
    for identifier in records.identifiers(context.store):
        record = records.by_id(context.store, identifier)
        images.setdefault(record.chain.hex, set()).add(identifier)
    found = {}
    for chain in {row.record.chain for row in rows}:
        seen = sizes(context.store.tree(chain))
        several = len(images.get(chain.hex, ())) > 1
        found[chain.hex] = Sizes(seen.all, seen.all) if several else seen
    return found


def _cells(context: Context, row: Row, words: Words, measured: dict[str, Sizes]) -> dict[str, str]:
    record, named = row.record, row.reference
    seen = measured.get(record.chain.hex)
    used = last_use(context.store, record.id.hex)
    digest = str(named.digest) if named and named.digest else record.manifest
    return {
        "Containers": _UNKNOWN,
        "CreatedAt": _stamp(record.created),
        "CreatedSince": _age(record.created),
        "Digest": digest or _NONE,
        "FetchedSince": _age(record.created),
        "ID": _identifier(record, words),
        "LastUsed": _stamp(used) if used else _UNKNOWN,
        "Protected": "yes" if row.protected else "",
        "Repository": _repository(named),
        "SharedSize": human_size(seen.shared) if seen else _UNKNOWN,
        "Size": human_size(record.size),
        "Store": record.store,
        "Tag": named.tag if named and named.tag and not named.digest else _NONE,
        "UniqueSize": human_size(seen.all - seen.shared) if seen else _UNKNOWN,
        "VirtualSize": human_size(record.size),
    }


def _repository(named: ImageReference | None) -> str:
    if named is None:
        return _NONE
    return ImageReference(named.registry, named.repository, None).familiar


def _identifier(record: records.Record, words: Words) -> str:
    return str(record.id) if words.flag("no-trunc") else record.id.hex[:12]


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))


def _age(since: float) -> str:
    """How long ago something was, in the largest unit of which there is one."""
    age = max(time.time() - since, 0)
    unit = ""
    for step, unit in _STEPS:  # noqa: B007
        if age < step:
            break
        age /= step
    return f"{int(age)} {unit}{'' if int(age) == 1 else 's'} ago"

"""``images``: what the store holds."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.listing import FORMAT, filters, has_labels, listing, switch
from cwl_userspace.cli.table import human_size
from cwl_userspace.cli.words import FLAG, LIST, Option, Words, parse
from cwl_userspace.errors import ImageNotFound, UsageError
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records
from cwl_userspace.store.protect import is_protected
from cwl_userspace.store.sizes import Sizes, sizes
from cwl_userspace.store.users import last_use

FILTERS = ("dangling", "protected", "reference", "label", "before", "since")
OPTIONS = (
    Option("-q --quiet", FLAG, "only the ids"),
    Option("-a --all", FLAG, "accepted: all are always listed"),
    Option("-s --size", FLAG, "look at every file: what images have in common, and alone"),
    Option("--digests", FLAG, "the digest of each manifest"),
    Option("--no-trunc", FLAG, "whole ids"),
    Option("-f --filter", LIST, f"by {', '.join(FILTERS)}", "KEY=VALUE"),
    FORMAT,
    Option("--help", FLAG, "show this text"),
)
_TITLES = {"Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "FetchedSince": "FETCHED",
           "Size": "SIZE"}  # fmt: skip
_NAMES = {"CreatedSince": "CREATED", "VirtualSize": "SIZE"}
_WHERE = {"Store": "STORE"}
_SIZES = {"SharedSize": "SHARED", "UniqueSize": "UNIQUE"}
_NONE = "<none>"
_UNKNOWN = "N/A"
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
    if len(words.arguments) > 1:
        raise UsageError("images takes one name", "or give several with --filter reference=NAME")
    context.store.check()
    given = filters(words.list("filter"), FILTERS)
    fit = [_filter(context, key, values) for key, values in given.items()]
    rows = [row for row in _rows(context, words.arguments) if all(fits(row) for fits in fit)]
    form = words.value("format")
    if words.flag("quiet"):
        short = (_identifier(row.record, words) for row in rows)
        print("".join(f"{identifier}\n" for identifier in dict.fromkeys(short)), end="")
        return 0
    deep = words.flag("size") or "SharedSize" in form or "UniqueSize" in form
    measured = _measured(context, rows) if deep else {}
    cells = [_cells(context, row, words, measured) for row in rows]
    several = _WHERE if context.settings.beneath else {}
    print(listing(form, {**_titles(words, rows), **several}, cells, _NAMES), end="")
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
    for record in () if wanted else records.images(context.store):
        if record.id.hex not in named:
            yield Row(None, record, False)


def _is_wanted(reference: ImageReference, wanted: str) -> bool:
    asked = ImageReference.parse(wanted)
    same = asked.name == reference.name
    explicit = asked.digest is not None or ":" in wanted.rpartition("/")[2]
    return same and (not explicit or records.key_of(asked) == records.key_of(reference))


def _filter(context: Context, key: str, values: Sequence[str]) -> Callable[[Row], bool]:
    """What says whether a row fits a filter; raise UsageError for a value that has no meaning."""
    if key == "reference":
        return lambda row: any(_matches(row, pattern) for pattern in values)
    if key == "label":
        return lambda row: has_labels(_labels(row.record), values)
    if key in ("before", "since"):
        limits = [records.find(context.store, name).created for name in values]
        if key == "before":
            return lambda row: row.record.created < min(limits)
        return lambda row: row.record.created > max(limits)
    wanted = switch(key, values)
    if key == "dangling":
        return lambda row: (row.reference is None) == wanted
    return lambda row: row.protected == wanted


def _matches(row: Row, pattern: str) -> bool:
    named = row.reference
    if named is None:
        return False
    shown = (named.familiar, str(named), named.familiar.rpartition(":")[0], named.name)
    return any(fnmatch.fnmatchcase(text, pattern) for text in shown)


def _labels(record: records.Record) -> dict[str, Any]:
    return (record.document.get("config") or {}).get("Labels") or {}


def _measured(context: Context, rows: Sequence[Row]) -> dict[str, Sizes]:
    """The sizes of each tree; one that several images have is shared as a whole."""
    images: dict[str, set[str]] = {}
    for record in records.images(context.store):
        images.setdefault(record.chain.hex, set()).add(record.id.hex)
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

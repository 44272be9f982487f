"""What lists do with ``--format``: a table, JSON lines, or a template for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cwl_userspace.cli.table import table
from cwl_userspace.cli.template import Template
from cwl_userspace.cli.template_functions import as_json
from cwl_userspace.cli.words import VALUE, Option
from cwl_userspace.errors import UsageError

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
FORMAT = Option("--format", VALUE, "table, json, {{.ID}} or 'table {{.ID}}\\t...'", "TEMPLATE")


def listing(
    form: str,
    titles: Mapping[str, str],
    rows: Sequence[Mapping[str, Any]],
    names: Mapping[str, str] | None = None,
) -> str:
    """The text of a list in the form that was asked for; empty or ``table`` is the usual one.

    ``titles`` says what the usual table shows and in which order, ``names`` how further fields are
    called in a table that a template makes. Raise UserspaceError for a template that is none.
    """
    if form in ("", "table"):
        return table(titles, rows)
    if form == "json":
        return "".join(f"{as_json(row)}\n" for row in rows)
    wanted = form.removeprefix("table ")
    template = Template(wanted)
    lines = [template.render(row) for row in rows]
    if wanted == form:
        return "".join(f"{line}\n" for line in lines)
    return columns([template.titles({**(names or {}), **titles}), *lines])


def columns(lines: Sequence[str]) -> str:
    """Lines whose cells have tabs between them, each column as wide as it must be."""
    cells = [dict(enumerate(line.split("\t"))) for line in lines]
    widest = max(map(len, cells))
    rows = [{str(place): line.get(place, "") for place in range(widest)} for line in cells]
    return table(rows[0], rows[1:])


def filters(texts: Sequence[str], known: Sequence[str]) -> dict[str, list[str]]:
    """The values of each ``--filter KEY=VALUE``; raise UsageError for a key that is not known."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise UsageError(
                f"the filter {text!r} is not known",
                f"expected {', '.join(f'{name}=VALUE' for name in known)}",
            )
        found.setdefault(key, []).append(value)
    return found


def switch(key: str, values: Sequence[str]) -> bool:
    """What a filter that is on or off is set to; raise UsageError for any other value."""
    if values[-1] not in _TRUTHS:
        raise UsageError(f"the filter {key}={values[-1]} is not known", "expected true or false")
    return _TRUTHS[values[-1]]


def has_labels(labels: Mapping[str, Any], wanted: Sequence[str]) -> bool:
    """True if all of ``NAME`` or ``NAME=VALUE`` are among labels."""
    pairs = (text.partition("=") for text in wanted)
    return all(
        name in labels and (not equals or labels[name] == value) for name, equals, value in pairs
    )


def label_text(labels: Mapping[str, Any]) -> str:
    """Labels as Docker shows them in a list."""
    return ",".join(f"{name}={labels[name]}" for name in sorted(labels))

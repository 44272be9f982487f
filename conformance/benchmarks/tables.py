"""The one format of results: parts have tables, tables have rows, rows have a value a turn."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from conformance.benchmarks.turns import Taken, Turns, ratios
from conformance.problem import Problem

# The results that stand in the repository.
STORED = Path(__file__).parents[2] / "docs" / "benchmarks" / "results.json"
_FORMAT = 1


class Row(NamedTuple):
    """One who was measured."""

    name: str
    # One for each turn, in the table's unit, and over that of the table's base in the same turn.
    values: list[float]
    ratios: list[float] = []
    # Where a table has an axis, the place on it.
    at: float | None = None
    note: str = ""


class Table(NamedTuple):
    """Those who were compared in one thing."""

    name: str
    title: str
    unit: str
    rows: list[Row]
    # The row that ratios are of; or the name of what they are of.
    base: str = ""
    # What grows, where the rows of one name are a curve.
    axis: str = ""
    note: str = ""
    # Who could not be measured, and why.
    left_out: dict[str, str] = {}


class Part(NamedTuple):
    """Some tables that were made in one go, and how the machine was."""

    tables: list[Table]
    date: str
    # The load average of a minute when it began, which knows of the part before; and how many
    # processors were busy with other work before it or after it, whatever is more.
    load: float
    others: float
    seconds: float
    quick: bool
    commit: str


class Results(NamedTuple):
    """All that has been measured on one machine."""

    machine: dict[str, Any]
    parts: dict[str, Part]

    def table(self, name: str) -> Table | None:
        """The table of that name, if it has been measured."""
        every = (table for part in self.parts.values() for table in part.tables)
        return next((table for table in every if table.name == name), None)


class Spread(NamedTuple):
    """The middle, and how far it went to either side."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def seconds(one: Taken) -> float:
    return one.seconds


def rows(
    turns: Turns,
    base: str,
    value: Callable[[Taken], float] = seconds,
    notes: Mapping[str, str] | None = None,
    at: float | None = None,
) -> list[Row]:
    """A row for each way that took part, with its ratios to the base."""
    of_base = [value(one) for one in turns.taken[base]] if base else []
    found = []
    for name, goes in turns.taken.items():
        values = [value(one) for one in goes]
        note = (notes or {}).get(name, "")
        found.append(Row(name, _short(values), _short(ratios(values, of_base)), at, note))
    return found


def _short(values: Iterable[float]) -> list[float]:
    """Six digits are more than any of them has."""
    return [float(f"{value:.6g}") for value in values]


def read(path: Path) -> Results:
    """Raises a Problem for what is no result of ours."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["format"] != _FORMAT:
            raise ValueError(f"format {known['format']}, not {_FORMAT}")
        return Results(known["machine"], {k: part_of(v) for k, v in known["parts"].items()})
    except (ValueError, TypeError, KeyError) as error:
        raise Problem(f"'{path}' is not a result of this program: {error}") from error


def write(results: Results, path: Path) -> None:
    parts = {name: as_json(part) for name, part in results.parts.items()}
    known = {"format": _FORMAT, "machine": results.machine, "parts": parts}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}")
    aside.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)


def as_json(part: Part) -> dict[str, Any]:
    tables = [
        {**table._asdict(), "rows": [row._asdict() for row in table.rows]} for table in part.tables
    ]
    return {**part._asdict(), "tables": tables}


def part_of(known: dict[str, Any]) -> Part:
    tables = [
        Table(**{**table, "rows": [Row(**row) for row in table["rows"]]})
        for table in known["tables"]
    ]
    return Part(**{**known, "tables": tables})

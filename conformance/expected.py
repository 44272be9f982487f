"""Expected failures: read from a file in which each has its reason and a link."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from conformance.doors import DOORS, ENGINES
from conformance.problem import Problem
from conformance.sources import HOMES

FILE = Path(__file__).with_name("expected.yml")
_KNOWN = {"suite": tuple(HOMES), "door": tuple(DOORS), "engine": ENGINES}


class Expected(NamedTuple):
    """An entry of the file; what it leaves open is an empty tuple."""

    tests: tuple[str, ...]
    suites: tuple[str, ...]
    doors: tuple[str, ...]
    engines: tuple[str, ...]
    reason: str
    link: str

    def covers(self, test: str, suite: str, door: str, engine: str) -> bool:
        asked = ((test, self.tests), (suite, self.suites), (door, self.doors))
        return all(
            not allowed or value in allowed for value, allowed in (*asked, (engine, self.engines))
        )


def read(path: Path = FILE) -> list[Expected]:
    """The entries of the file; raises a Problem that says which of them is not one, and why."""
    try:
        entries = YAML(typ="safe").load(path)
    except (OSError, YAMLError) as error:
        raise Problem(f"cannot read the expected failures '{path}': {error}") from error
    if not isinstance(entries, list):
        raise Problem(f"'{path}' is not a list of expected failures", "write [] if there are none")
    return [_entry(entry, f"'{path}', entry {number}") for number, entry in enumerate(entries, 1)]


def find(entries: Iterable[Expected], test: str, cell: tuple[str, str, str]) -> Expected | None:
    """The first entry for this test in a cell (suite, door, engine)."""
    return next((entry for entry in entries if entry.covers(test, *cell)), None)


def _entry(entry: Any, where: str) -> Expected:
    if not isinstance(entry, dict):
        raise Problem(f"{where}: expected a map with test, reason and link, not '{entry}'")
    unknown = set(entry) - {"test", "reason", "link", *_KNOWN}
    if unknown:
        raise Problem(f"{where}: unknown key '{min(map(str, unknown))}'")
    for name in ("test", "reason", "link"):
        if not entry.get(name):
            raise Problem(
                f"{where}: no {name}", "each expected failure says why, and where to read"
            )
    if not str(entry["link"]).startswith(("https://", "http://")):
        raise Problem(f"{where}: the link '{entry['link']}' is no URL")
    for name, known in _KNOWN.items():
        for value in _names(entry.get(name)):
            if value not in known:
                raise Problem(f"{where}: unknown {name} '{value}'", f"known: {', '.join(known)}")
    return Expected(
        tests=_names(entry["test"]),
        suites=_names(entry.get("suite")),
        doors=_names(entry.get("door")),
        engines=_names(entry.get("engine")),
        reason=" ".join(str(entry["reason"]).split()),
        link=str(entry["link"]),
    )


def _names(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)

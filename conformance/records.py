"""What became of each test, kept a line at a time, so that a run that is killed can go on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PASSED = "passed"
FAILED = "failed"
UNSUPPORTED = "unsupported"


class Record(NamedTuple):
    """One test, run once."""

    test: str
    # PASSED, FAILED or UNSUPPORTED
    outcome: str
    why: str
    seconds: float
    # What the runner wrote to stderr, if the test did not pass.
    log: str
    # With what it ran: all versions in one digest.
    key: str = ""

    def line(self) -> str:
        return json.dumps(self._asdict()) + "\n"


def parse(line: str) -> Record | None:
    """A record from its line; nothing from one that a kill has cut short."""
    try:
        return Record(**json.loads(line))
    except (ValueError, TypeError):
        return None


def read(path: Path) -> Iterator[Record]:
    """All records of a file in their order; none where there is no file."""
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            record = parse(line)
            if record:
                yield record


def passed(path: Path, key: str, tests: Iterable[str]) -> dict[str, Record]:
    """Those of these tests whose last run had this key and passed."""
    last = {record.test: record for record in read(path)}
    kept = {name: last[name] for name in tests if name in last}
    return {
        name: record
        for name, record in kept.items()
        if record.key == key and record.outcome == PASSED
    }


def append(path: Path, record: Record) -> None:
    """Adds a record; what a kill left of the line before it does not spoil this one."""
    with open(path, "a+b") as file:
        if file.tell() and not _ends_well(path):
            file.write(b"\n")
        file.write(record.line().encode())


def _ends_well(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, 2)
        return file.read() == b"\n"

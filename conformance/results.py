"""What is kept of a cell when it has run: counts, versions and failures, in a file of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

from conformance.expected import Expected, find
from conformance.problem import Problem
from conformance.records import PASSED, Record

# The results that stand in the repository.
STORED = Path(__file__).with_name("results")


class Result(NamedTuple):
    """One cell, run through."""

    suite: str
    door: str
    engine: str
    # How many tests were selected and have passed, in all and of those that want a container.
    selected: int
    passed: int
    containers_selected: int
    containers_passed: int
    # The mean over all tests, of the time from the start of the runner to its end.
    seconds_per_test: float
    # {test, why}, {test, reason, link}, and names of tests that should have failed.
    failed: list[dict[str, str]]
    expected: list[dict[str, str]]
    unexpectedly_passed: list[str]
    # The runner alone, to compare with.
    baseline: bool = False
    # `all`, `containers` or names
    only: str = ""
    date: str = ""
    versions: dict[str, str] = {}
    jobs: int = 1
    # The host's load average of five minutes at the end, and its processors.
    load: float = 0.0
    cores: int = 0
    # Seconds from start to end of the last go.
    elapsed: int = 0
    # Tests that opened a server on the loopback interface instead of a public one, and such as
    # pass without internet whatever the engine does.
    loopback: list[str] = []
    vacuous: list[str] = []
    # How many processes were seen under which engine, by looking at /proc.
    seen: dict[str, int] = {}

    @property
    def name(self) -> str:
        return f"{self.suite}-{self.door}-{self.engine}-{self.only}"

    @property
    def busy(self) -> bool:
        """Whether the host had so much other work that the seconds say little."""
        return self.load > 2 * max(self.cores, self.jobs)

    @property
    def good(self) -> bool:
        """Whether all went as it has to; a baseline has nothing that it has to do."""
        return self.baseline or not (self.failed or self.unexpectedly_passed)


def summarize(
    cell: tuple[str, str, str],
    records: Sequence[Record],
    containers: Set[str],
    known: Iterable[Expected],
    baseline: bool = False,
) -> Result:
    """Counts, and tells the failures that are expected from those that are not."""
    known = list(known)
    failed, awaited, surprising = [], [], []
    for record in records:
        entry = None if baseline else find(known, record.test, cell)
        if record.outcome == PASSED:
            surprising += [record.test] if entry else []
        elif entry:
            awaited.append({"test": record.test, "reason": entry.reason, "link": entry.link})
        else:
            failed.append({"test": record.test, "why": record.why.splitlines()[0][:200]})
    passed = {record.test for record in records if record.outcome == PASSED}
    seconds = sum(record.seconds for record in records)
    return Result(
        *cell,
        selected=len(records),
        passed=len(passed),
        containers_selected=sum(record.test in containers for record in records),
        containers_passed=len(passed & containers),
        seconds_per_test=round(seconds / max(1, len(records)), 2),
        failed=failed,
        expected=awaited,
        unexpectedly_passed=surprising,
        baseline=baseline,
    )


def write(result: Result, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result._asdict(), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Result:
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Result(**fields)
    except (ValueError, TypeError) as error:
        raise Problem(f"'{path}' is not a result of this program: {error}") from error


def stored(folder: Path = STORED) -> list[Result]:
    """All results of a folder, by name."""
    return [read(path) for path in sorted(folder.glob("*.json"))]

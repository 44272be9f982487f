"""The ratios that README.rst names: which row of which table each is, and whether it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from conformance.benchmarks import peers, pull, scatter, second, startup
from conformance.benchmarks.machine import BUSY
from conformance.benchmarks.tables import Results, Row, Spread, Table, spread

# How far a ratio may be from the one that stands there.
WITHIN = 0.15


class Ratio(NamedTuple):
    """One figure: a sentence about a row and another of the same table, of the same turns."""

    name: str
    sentence: str
    part: str
    table: str
    row: str
    over: str


RATIOS = (
    Ratio(
        "start-up", "Start of a container, over a bare Python (``python3 -c pass``)",
        "startup", "startup", peers.OURS, startup.BARE,
    ),
    Ratio(
        "start-up, podman", "Start of a container by podman, over ours",
        "startup", "startup", "podman run", peers.OURS,
    ),
    Ratio(
        "pull", "Pull and unpack one layer, over ``curl | gzip -dc | tar -x``",
        "pull", "pull whole", pull.OURS, pull.FLOOR,
    ),
    Ratio(
        "pull, three layers", "Pull and unpack three layers, over the same",
        "pull", "pull bio", pull.OURS, pull.FLOOR,
    ),
    Ratio(
        "pull, podman", "Pull by podman, over ours, three layers",
        "pull", "pull bio", "podman", pull.OURS,
    ),
    Ratio(
        "second image", "A second image that extends the first, over its pull where nothing is",
        "second", "second", pull.OURS, second.COLD,
    ),
    Ratio(
        "second image, beside", "A second image with layers of its own on the same base, likewise",
        "second", "second beside", pull.OURS, second.COLD,
    ),
    Ratio(
        "scatter", "One-line jobs by ``cwltool-userspace``, over ``cwltool`` with no container",
        "scatter", "scatter", scatter.EXTENSION, scatter.NONE,
    ),
    Ratio(
        "scatter, podman", "The same by ``cwltool --podman``, over ``cwltool-userspace``",
        "scatter", "scatter", scatter.PODMAN, scatter.EXTENSION,
    ),
)  # fmt: skip


def value(ratio: Ratio, results: Results) -> Spread | None:
    """What was measured, with its spread; None if it was not."""
    table = results.table(ratio.table)
    rows = [_row(table, name) for name in (ratio.row, ratio.over)] if table else []
    if not all(rows) or not rows:
        return None
    own, base = (row.values for row in rows if row)
    return spread([mine / other for mine, other in zip(own, base, strict=False)])


def stated(results: Results) -> Iterator[tuple[Ratio, Spread]]:
    """The ratios that may stand in the README: measured at leisure, on a machine at rest."""
    for ratio in RATIOS:
        part = results.parts.get(ratio.part)
        found = value(ratio, results)
        if found and part and not part.quick and part.others <= BUSY:
            yield ratio, found


def compared(stored: Results, again: Results) -> Iterator[tuple[str, bool]]:
    """A line for each ratio that stands there, and whether it was found again."""
    for ratio, old in stated(stored):
        new = value(ratio, again)
        if new is None:
            told = f"{ratio.name}: {old.median:.2f} stands there, and cannot be measured here"
            yield told + _why(ratio, again), False
            continue
        off = new.median / old.median - 1
        good = abs(off) <= WITHIN
        word = "within" if good else "NOT within"
        yield (
            (
                f"{ratio.name}: {old.median:.2f} stands there, {new.median:.2f} now"
                f" ({new.least:.2f} to {new.most:.2f}), {off:+.0%}: {word} {WITHIN:.0%}"
            ),
            good,
        )


def verdict(lines: Sequence[tuple[str, bool]], again: Results) -> Iterator[str]:
    """A sentence on all that was compared, and one on the machine if that may be the reason."""
    failed = sum(not good for _, good in lines)
    if not failed:
        yield f"all {len(lines)} ratios are within {WITHIN:.0%} of those in README.rst"
        return
    yield f"{failed} of {len(lines)} ratios are NOT within {WITHIN:.0%} of those in README.rst"
    busy = max((part.others for part in again.parts.values()), default=0.0)
    if busy > BUSY:
        yield f"{busy} processors were busy with other work: try again where nothing else runs"


def _why(ratio: Ratio, results: Results) -> str:
    table = results.table(ratio.table)
    reasons = [table.left_out.get(name, "") for name in (ratio.row, ratio.over)] if table else []
    return "".join(f": {one}" for one in reasons if one)


def needed(results: Results) -> dict[str, set[str]]:
    """The ways that each part has to measure for the ratios that stand there."""
    found: dict[str, set[str]] = {}
    for ratio, _ in stated(results):
        found.setdefault(ratio.part, set()).update((ratio.row, ratio.over))
    return found


def _row(table: Table | None, name: str) -> Row | None:
    rows: Iterable[Row] = table.rows if table else ()
    return next((row for row in rows if row.name == name), None)

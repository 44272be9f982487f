"""A second image that has layers in common with the first: what it costs who has the first."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.benchmarks import registry
from conformance.benchmarks.bench import BIO, WHOLE, Bench
from conformance.benchmarks.pull import FLOOR, OURS, Fetch, Here, serving, ways
from conformance.benchmarks.registry import Image
from conformance.benchmarks.tables import Table, rows
from conformance.benchmarks.turns import Way, take

COLD = "ours, without the first"


def measure(bench: Bench) -> list[Table]:
    """For each kind of second image a table of time and one of disk: both are what it adds."""
    layouts = {name: bench.layout(name) for name in (WHOLE, BIO)}
    with serving(bench) as here:
        whole, bio = (
            registry.upload(layouts[name], name, here.hosts.plain, f"second/{n}")
            for n, name in enumerate((WHOLE, BIO))
        )
        parts = [
            registry.upload_part(here.hosts.plain, bio.name, layers, f"second/part-{n}")
            for n, layers in enumerate(([0, 1], [0, 2]))
        ]
        size = registry.upload_part(here.hosts.plain, bio.name, [0], "second/common").size
        return [
            *_tables(bench, here, [whole, bio], whole.size, "second", "that extends the first"),
            *_tables(bench, here, parts, size, "second beside", "with layers of its own"),
        ]


def _tables(
    bench: Bench, here: Here, images: Sequence[Image], shared: int, name: str, kind: str
) -> list[Table]:
    chosen, left_out = ways(bench)
    every = [Way(COLD, Fetch(OURS, images[1:], here), needed=True)]
    every += [Way(way, Fetch(way, images, here), way == OURS) for way in chosen if way != FLOOR]
    turns = take(every, bench.number(3, 1))
    turns.left_out.update(left_out)
    size = f"{shared / 1e6:.0f} of {images[1].size / 1e6:.0f} MB are shared"
    return [
        Table(
            name, f"A second image {kind}, {size}", "s", rows(turns, COLD), COLD,
            note="The base is the same image fetched where nothing is.", left_out=turns.left_out,
        ),
        Table(
            f"{name}: disk", f"Disk that a second image {kind} adds", "B",
            rows(turns, COLD, lambda one: float(one.disk)), COLD,
        ),
    ]  # fmt: skip

"""A second image whose lowest layers are the first's: what it costs who has the first."""

from __future__ import annotations

from conformance.benchmarks import registry
from conformance.benchmarks.bench import BIO, WHOLE, Bench
from conformance.benchmarks.pull import FLOOR, OURS, Fetch, serving, ways
from conformance.benchmarks.tables import Table, rows
from conformance.benchmarks.turns import Way, take

COLD = "ours, without the first"


def measure(bench: Bench) -> list[Table]:
    """A table of time and one of disk: both are what the second adds."""
    layouts = {name: bench.layout(name) for name in (WHOLE, BIO)}
    with serving(bench) as here:
        images = [
            registry.upload(layouts[name], name, here.hosts.plain, f"second/{n}")
            for n, name in enumerate((WHOLE, BIO))
        ]
        chosen, left_out = ways(bench)
        every = [Way(COLD, Fetch(OURS, images[1:], here), needed=True)]
        every += [Way(way, Fetch(way, images, here), way == OURS) for way in chosen if way != FLOOR]
        turns = take(every, bench.number(3, 1))
    turns.left_out.update(left_out)
    shared = f"{images[0].size / 1e6:.0f} of {images[1].size / 1e6:.0f} MB are shared"
    return [
        Table(
            "second", f"A second image, {shared}", "s", rows(turns, COLD), COLD,
            note="The base is the same image fetched where nothing is.", left_out=turns.left_out,
        ),
        Table(
            "second: disk", "Disk that the second image adds", "B",
            rows(turns, COLD, lambda one: float(one.disk)), COLD,
        ),
    ]  # fmt: skip

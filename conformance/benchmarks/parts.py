"""All parts, in the order in which they are measured and shown."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import NamedTuple

from conformance.benchmarks import (
    calls,
    growth_pulls,
    growth_runs,
    memory,
    pull,
    scatter,
    second,
    simulate,
    startup,
    work,
)
from conformance.benchmarks.bench import BENCH, BIO, IMAGE, WHOLE, Bench
from conformance.benchmarks.tables import Table
from conformance.problem import Problem


class Known(NamedTuple):
    """A part: what measures it, its heading, and what is said of it."""

    measure: Callable[[Bench], list[Table]]
    title: str
    about: str
    # The images that it needs, which are built before it begins, and the programs.
    needs: tuple[str, ...] = (IMAGE,)
    programs: tuple[str, ...] = ()

    def images(self, bench: Bench) -> tuple[str, ...]:
        """The images that are to be there before it begins."""
        return (IMAGE,) if bench.quick and self.measure is pull.measure else self.needs


# A registry, what fills it, and the floor that pulls are held against.
_SERVED = ("docker-registry", "skopeo", "curl", "gzip", "tar")
# Who is measured if he is here: what Debian has of them. podman needs the two behind it to start as
# a user: for its ids, and as a runtime that bears with cgroups of both versions.
PODMAN = ("podman", "newuidmap", "runc")
PEERS = (
    *PODMAN,
    *("bwrap", "ch-image", "ch-run", "crun", "fakechroot", "openssl", "proot", "umoci"),
)


def _line(text: str | None) -> str:
    return (text or "").splitlines()[0]


PARTS = {
    "startup": Known(startup.measure, "Start-up", _line(startup.__doc__)),
    "calls": Known(calls.measure, "System calls", _line(calls.__doc__), programs=("strace",)),
    "work": Known(work.measure, "Work", _line(work.__doc__), (BENCH,), ("bwrap",)),
    "memory": Known(memory.measure, "Memory", _line(memory.__doc__)),
    "pull": Known(pull.measure, "Pull and unpack", _line(pull.__doc__), (WHOLE, BIO), _SERVED),
    "second": Known(
        second.measure, "A second image", _line(second.__doc__), (WHOLE, BIO), _SERVED
    ),
    "scatter": Known(scatter.measure, "Many small jobs", _line(scatter.__doc__)),
    "jobs": Known(growth_runs.jobs, "How runs grow: jobs at once", _line(growth_runs.jobs.__doc__)),
    "mounts": Known(growth_runs.mounts, "How runs grow: mounts", _line(growth_runs.mounts.__doc__)),
    "files": Known(
        growth_pulls.files, "How pulls grow: files", _line(growth_pulls.files.__doc__),
        programs=_SERVED,
    ),
    "sizes": Known(
        growth_pulls.sizes, "How pulls grow: bytes", _line(growth_pulls.sizes.__doc__),
        programs=_SERVED,
    ),
    "pullers": Known(
        growth_pulls.pullers, "How pulls grow: pullers", _line(growth_pulls.pullers.__doc__),
        programs=_SERVED,
    ),
    "simulation": Known(
        simulate.measure, "A thousand nodes", simulate.ABOUT, programs=(*_SERVED, "strace")
    ),
}  # fmt: skip
GROUPS = {"growth": ("jobs", "mounts", "files", "sizes", "pullers")}


def chosen(names: Iterable[str]) -> list[str]:
    """The parts of these names, in our order; of no names all. Raises a Problem for others."""
    wanted: set[str] = set()
    for name in names:
        wanted.update(GROUPS.get(name, (name,)))
    unknown = wanted - set(PARTS)
    if unknown:
        known = ", ".join([*PARTS, *GROUPS])
        raise Problem(f"unknown part '{sorted(unknown)[0]}'", f"known are: {known}")
    return [name for name in PARTS if not wanted or name in wanted]


def add_options(parser: argparse.ArgumentParser) -> None:
    """How far the growing parts go."""
    for name in ("jobs", "mounts", "files", "sizes", "pullers"):
        text = f"default: as the part '{name}' has it"
        parser.add_argument(f"--{name}", type=numbers, default=(), metavar="N,N", help=text)


def numbers(text: str) -> tuple[int, ...]:
    """Numbers with commas between them, each perhaps with k, M or G behind."""
    scale = {"k": 10**3, "M": 10**6, "G": 10**9}
    words = [word.strip() for word in text.split(",")]
    return tuple(
        int(float(word[:-1]) * scale[word[-1]]) if word[-1:] in scale else int(word)
        for word in words
    )

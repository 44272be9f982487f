"""Runs the CWL conformance suites through every door with every engine, and keeps the results.

Where it is root it gets what Debian packages are missing and goes on as a user without rights.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from conformance import badges, cell, junit, page, report, results
from conformance import images as image_builder
from conformance.doors import DOORS, ENGINES, Door
from conformance.problem import Problem
from conformance.programs import require_programs
from conformance.recipes import NEEDED
from conformance.run import wish, wish_arguments
from conformance.screen import Line
from conformance.sources import HOMES, Source, find
from conformance.user import NAME, go_on_as

_PROGRAMS = ("mmdebstrap", "fakechroot", "fakeroot", "git", "node")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conformance.matrix", description=__doc__)
    parser.add_argument(
        "--suite",
        nargs="+",
        action="extend",
        metavar="SUITE",
        help="v1.0, v1.1 or v1.2, which are fetched, or v1.2=FOLDER; default: all three",
    )
    parser.add_argument(
        "--door",
        nargs="+",
        action="extend",
        choices=DOORS,
        help="default: all whose runner is here",
    )
    parser.add_argument(
        "--engine",
        nargs="+",
        action="extend",
        choices=ENGINES,
        help="default: userns and proot; a baseline has none",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="an image layout; default: DIR/images, built"
    )
    parser.add_argument(
        "--user", default=NAME, metavar="NAME", help=f"whom root becomes; default: {NAME}, made"
    )
    wish_arguments(parser)
    options = parser.parse_args(argv)
    options.suite = options.suite or list(HOMES)
    options.engine = options.engine or ["userns", "proot"]
    return options


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    options = _arguments(words)
    options.output = options.output.resolve()
    try:
        if os.geteuid() == 0 and options.user != "root":
            _leave_root(options, words)
        return _run(options)
    except Problem as problem:
        problem.report("conformance.matrix")
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same with --resume goes on", file=sys.stderr)
        return 130


def _leave_root(options: argparse.Namespace, words: Sequence[str]) -> None:
    engines = [one for one in options.engine if one == "proot"]
    require_programs(*_PROGRAMS, *engines)
    homes = [door.home for door in DOORS.values() if door.home]
    again = ["-m", "conformance.matrix", *words, "--output", str(options.output)]
    go_on_as(options.user, again, options.output, homes)


def _doors(names: Sequence[str] | None) -> list[Door]:
    """The doors of these names; else all whose runner is here, and a word on each that is not."""
    if names:
        return [DOORS[name] for name in names]
    for door in DOORS.values():
        if reason := door.lacking():
            print(f"left out, door {door.name}: {reason}", file=sys.stderr)
    return [door for door in DOORS.values() if not door.lacking()]


def _run(options: argparse.Namespace) -> int:
    sources = [find(text, options.output / "suites") for text in options.suite]
    images = options.images or options.output / "images"
    _ensure_images(sources, images)
    cells = _cells(sources, options)
    asked = wish(options, images)._replace(store=options.output / "store")
    good = True
    for number, one in enumerate(cells, 1):
        went = _one(one, asked, options, f"{number}/{len(cells)} {' '.join(one.key)}")
        good = good and went is not None and went.result.good and not went.complaint
    _publish(options.output)
    return 0 if good else 1


def _cells(sources: Sequence[Source], options: argparse.Namespace) -> list[cell.Cell]:
    doors = _doors(options.door)
    return [
        cell.Cell(source, door, engine)
        for source in sources
        for door in doors
        for engine in door.engines(tuple(options.engine))
    ]


def _ensure_images(sources: Sequence[Source], images: Path) -> None:
    names = [name for source in sources for name in NEEDED.get(source.version, NEEDED["v1.2"])]
    line = Line()
    try:
        image_builder.ensure(list(dict.fromkeys(names)), images, line)
    finally:
        line.clear()


def _one(
    one: cell.Cell, asked: cell.Wish, options: argparse.Namespace, label: str
) -> cell.Done | None:
    """Runs a cell, or says why it cannot start; the others go on."""
    line = Line()
    folder = options.output / one.name
    try:
        done = cell.run(one, asked, folder, lambda text: line.show(f"{label}: {text}"))
    except Problem as problem:
        line.clear()
        problem.report(f"{label}")
        return None
    line.clear()
    print(report.describe(done), flush=True)
    junit.write(done.result, done.records, folder / "junit.xml")
    if done.complaint:
        return done
    results.write(done.result, options.output / "results" / f"{done.result.name}.json")
    return done


def _publish(folder: Path) -> None:
    """One JUnit file, the page and the badges, of all results that are in the folder."""
    junit.combine(sorted(folder.glob("*/junit.xml")), folder / "junit.xml")
    known = results.stored(folder / "results")
    page.write(known, folder / "conformance.rst")
    badges.write(known, folder / "badges")


if __name__ == "__main__":
    sys.exit(main())

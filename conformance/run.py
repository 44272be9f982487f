"""Runs the CWL conformance tests through one door with one engine; conformance.matrix runs many."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from conformance import cell, junit, report
from conformance.doors import DOORS, ENGINES
from conformance.problem import Problem
from conformance.screen import Line
from conformance.sources import find


def wish_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that a cell has in common with the whole matrix."""
    parser.add_argument(
        "--only",
        default="containers",
        metavar="WHICH",
        help="containers (default), all, or test names with commas between them",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="tests at once")
    parser.add_argument("--timeout", type=int, default=600, metavar="S", help="for each test")
    parser.add_argument(
        "--output", type=Path, default=Path("conformance-output"), metavar="DIR", help="for logs"
    )
    parser.add_argument(
        "--internet",
        action="store_true",
        help="let the network's tests open a public URL, and not a server on the loopback",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave alone what has passed with the same versions",
    )


def wish(options: argparse.Namespace, images: Path) -> cell.Wish:
    return cell.Wish(
        images, options.only, options.jobs, options.timeout, options.internet, options.resume
    )


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conformance.run", description=__doc__)
    parser.add_argument(
        "--suite",
        required=True,
        metavar="SUITE",
        help="v1.0, v1.1 or v1.2, which are fetched, or v1.2=FOLDER",
    )
    parser.add_argument(
        "--images", required=True, type=Path, metavar="DIR", help="from conformance.images"
    )
    parser.add_argument("--door", choices=DOORS, default="extension")
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="none for a baseline")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="the results; in --output else")
    wish_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    door = DOORS[options.door]
    (engine,) = door.engines((options.engine,))
    line = Line()
    try:
        source = find(options.suite, options.output / "suites")
        one = cell.Cell(source, door, engine)
        done = cell.run(one, wish(options, options.images), options.output, line.show)
    except Problem as problem:
        line.clear()
        problem.report("conformance.run")
        return 2
    except KeyboardInterrupt:
        line.clear()
        return 130
    line.clear()
    junit.write(done.result, done.records, options.junit or options.output / "junit.xml")
    print(report.describe(done))
    return 0 if done.result.good and not done.complaint else 1


if __name__ == "__main__":
    sys.exit(main())

"""Draws a k-mer abundance histogram in the terminal."""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_WIDEST = 60


def read_histogram(path: Path) -> dict[int, int]:
    """How many k-mers occur so many times, from the CSV that abundance-dist.py writes."""
    with open(path, newline="") as table:
        return {int(row["abundance"]): int(row["count"]) for row in csv.DictReader(table)}


def draw(histogram: dict[int, int], width: int) -> Iterator[str]:
    """A line for each abundance from 1 on; sequencing errors, which occur once, are cut off."""
    shown = {abundance: count for abundance, count in histogram.items() if abundance > 0}
    full = max((count for abundance, count in shown.items() if abundance > 1), default=1) or 1
    digits = max(len(str(max(shown.values(), default=0))), len("k-mers"))
    yield f"{'times':>5}  {'k-mers':>{digits}}"
    for abundance, count in shown.items():
        bar = "#" * round(width * count / full) if count <= full else "#" * (width - 1) + ">"
        yield f"{abundance:5}  {count:{digits}}  {bar}".rstrip()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="conformance.khmer.show", description=__doc__)
    parser.add_argument("histogram", type=Path, metavar="hist.csv")
    path: Path = parser.parse_args(argv).histogram
    try:
        histogram = read_histogram(path)
    except OSError as error:
        print(f"cannot read '{path}': {error.strerror}", file=sys.stderr)
        return 1
    except (KeyError, TypeError, ValueError) as error:
        print(f"'{path}' is not what abundance-dist.py writes: {error}", file=sys.stderr)
        return 1
    room = shutil.get_terminal_size().columns - 20
    print("\n".join(draw(histogram, max(10, min(_WIDEST, room)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

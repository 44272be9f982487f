"""Writes FASTA reads of a random genome with sequencing errors, the same ones every time.

Only `random.Random(seed).random()` is used: it is the one method whose sequence Python promises
to keep from version to version.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

SEED = 20140626
GENOME = 500_000
READ = 100
READS = 100_000
# One wrong base in every second read is the half per cent of a common sequencer.
ERRORS_PER_READ = 0.5

_BASES = "ACGT"
_COMPLEMENT = str.maketrans("ACGT", "TGCA")


def reads(
    seed: int = SEED, genome_size: int = GENOME, count: int = READS, length: int = READ
) -> Iterator[str]:
    """Reads from places and strands chosen by chance: each place is read about 20 times."""
    draw = Random(seed).random
    genome = "".join(_BASES[int(draw() * 4)] for _ in range(genome_size))
    for _ in range(count):
        start = int(draw() * (genome_size - length + 1))
        read = genome[start : start + length]
        if draw() < 0.5:
            read = read.translate(_COMPLEMENT)[::-1]
        if draw() < ERRORS_PER_READ:
            read = _misread(read, int(draw() * length), 1 + int(draw() * 3))
        yield read


def _misread(read: str, place: int, step: int) -> str:
    """The read with another base at this place; a step of 1, 2 or 3 never hits the right one."""
    wrong = _BASES[(_BASES.index(read[place]) + step) % 4]
    return read[:place] + wrong + read[place + 1 :]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="conformance.khmer.reads", description=__doc__)
    parser.add_argument("to", type=Path, metavar="FILE", help="the FASTA file to write")
    target: Path = parser.parse_args(argv).to
    aside = target.with_name(f"{target.name}.partial")
    with open(aside, "w", encoding="ascii") as fasta:
        fasta.writelines(f">read{number}\n{read}\n" for number, read in enumerate(reads(), 1))
    aside.replace(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())

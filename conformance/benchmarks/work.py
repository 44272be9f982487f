"""Work in a container with each of our engines and some peers, beside bwrap alone on that tree.

The start of each container is taken off its other figures: they are about the work. The root is
read-only, as cwltool asks for.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from conformance.benchmarks.bench import BENCH, Bench, ours, room, tree
from conformance.benchmarks.tables import Table, rows
from conformance.benchmarks.turns import Taken, Timed, Turns, Way, median, take, timed
from conformance.problem import Problem

NATIVE = "bwrap alone"
_START = ["true"]
WORKS = {
    "find /usr": ["find", "/usr", "-name", "no such name"],
    "import numpy": ["python3", "-c", "import numpy"],
    "gcc -O2": ["gcc", "-O2", "-c", "/mnt/large.c", "-o", "/mnt/large.o"],
    "samtools sort": ["samtools", "sort", "-o", "/mnt/sorted.bam", "/mnt/reads.sam"],
}


def measure(bench: Bench) -> list[Table]:
    """A table for each work."""
    bench.layout(BENCH)
    root = tree(BENCH)
    with room(bench.scratch) as place:
        prepare(place)
        table = {
            name: words
            for name, words in prefixes(root, str(place)).items()
            if bench.wants(name, NATIVE)
        }
        begun = [Way(who, Timed([*words, *_START]), who == NATIVE) for who, words in table.items()]
        starts = take(begun, 3, warm=True)
        return [_table(bench, name, table, starts) for name in WORKS]


def _table(bench: Bench, name: str, table: Mapping[str, Sequence[str]], starts: Turns) -> Table:
    """What a work takes, for each who starts at all."""
    ways = [
        Way(who, Work([*table[who], *WORKS[name]], _median(goes)), needed=who == NATIVE)
        for who, goes in starts.taken.items()
    ]
    turns = take(ways, bench.number(5, 2), warm=True)
    return Table(
        name=f"work: {name}",
        title=f"Work in a container: {name}",
        unit="s",
        base=NATIVE,
        rows=rows(turns, NATIVE),
        note=f"{' '.join(WORKS[name])}; without the container's start.",
        left_out={**starts.left_out, **turns.left_out},
    )


def _median(goes: Sequence[Taken]) -> float:
    return median([one.seconds for one in goes])


class Work:
    """A way to go: a command, less the time that a container takes to start."""

    def __init__(self, command: Sequence[str], start: float) -> None:
        self._command, self._start = command, start

    def __call__(self) -> Taken:
        taken = timed(self._command)
        return taken._replace(seconds=max(taken.seconds - self._start, 1e-6))


def prefixes(root: str, place: str) -> dict[str, list[str]]:
    """The words to put before a command: bwrap's, our engines', and those of peers."""
    if not shutil.which("bwrap"):
        raise Problem("bwrap is not on PATH: it is what native means", "apt-get install bubblewrap")
    native = ["bwrap", "--unshare-all", "--ro-bind", root, "/", "--proc", "/proc", "--dev", "/dev"]
    native += ["--tmpfs", "/tmp", "--bind", place, "/mnt", "--setenv", "PATH", "/usr/bin:/bin"]
    found = {NATIVE: native}
    for engine in working_engines():
        words = [ours(), "--engine", engine, "run", "--read-only", "-v", f"{place}:/mnt", BENCH]
        found[f"ours, {engine}"] = words
    if shutil.which("proot"):
        found["proot alone"] = ["proot", "-r", root, "-b", "/proc", "-b", "/dev", "-b", "/tmp"]
        found["proot alone"] += ["-b", f"{place}:/mnt", "-w", "/"]
    if shutil.which("ch-run"):
        found["ch-run"] = ["ch-run", "-b", f"{place}:/mnt", root, "--"]
    return found


def working_engines() -> list[str]:
    """The engines that work on this host."""
    command = [ours(), "doctor", "--json", "--offline", "--quick"]
    report = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    return [engine["name"] for engine in report["engines"] if engine["works"]]


def prepare(place: Path) -> None:
    """What gcc and samtools are to work on; the same on every machine."""
    lines = [
        f"double f{i}(double x) {{ double s = 0; for (int i = 1; i < {i % 7 + 3}; i++)"
        f" s += x / i * {i}.5; return s > {i} ? s : s * f{max(i - 1, 0)}(x / 2); }}"
        for i in range(500)
    ]
    (place / "large.c").write_text("\n".join(lines) + "\n")
    numbers = random.Random(1)
    with (place / "reads.sam").open("w") as file:
        file.write("@HD\tVN:1.6\n@SQ\tSN:chr1\tLN:10000000\n")
        bases = "".join(numbers.choice("ACGT") for _ in range(10_000))
        for number in range(200_000):
            at, cut = numbers.randrange(1, 9_000_000), numbers.randrange(9_900)
            read = f"{bases[cut : cut + 100]}\t{'I' * 100}"
            file.write(f"r{number}\t0\tchr1\t{at}\t60\t100M\t*\t0\t0\t{read}\n")

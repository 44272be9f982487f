"""Time work in a container with each engine, beside the same work in the same tree without us.

usage: python -m conformance.benchmarks.engines [--runs N] [--engines A,B] [--writable]
                                                [--only PART,...] [--json FILE] [IMAGE]

IMAGE is in the store, or can be pulled; the default is one of conformance.images that has perl,
numpy, gcc and samtools. Native, 1.0, is bwrap alone with the tree as its root. All commands are
run in turn, N times over, so that a drift of the machine meets them all. The start of each
engine's container is taken off its other figures: they are about the work. The root is read-only,
as cwltool asks for, unless --writable is given.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

IMAGE = "docker.io/cwluserspace/bench:1"
NATIVE = "native"
START = "start of true"
# A loop is made so long that it takes this, with every engine; in seconds.
_LOOP = 0.6
_FIRST_ROUNDS = 500
_MOST_ROUNDS = 1_000_000


class Work(NamedTuple):
    """What is timed: a command, and whether ``{n}`` in it is a number of rounds."""

    name: str
    command: Sequence[str]
    rounds: bool = False


WORKS = (
    Work(START, ("true",)),
    Work("stat", ("perl", "-e", 'stat "/usr/bin/perl" for 1..{n}'), rounds=True),
    Work(
        "write of one byte",
        ("perl", "-e", 'open F, ">", "/tmp/x"; syswrite F, "x" for 1..{n}'),
        rounds=True,
    ),
    Work("fork and exec", ("perl", "-e", 'system "/bin/true" for 1..{n}'), rounds=True),
    Work("find /usr", ("find", "/usr", "-name", "no such name")),
    Work("import numpy", ("python3", "-c", "import numpy")),
    Work("gcc -O2", ("gcc", "-O2", "-c", "/mnt/large.c", "-o", "/mnt/large.o")),
    Work("samtools sort", ("samtools", "sort", "-o", "/mnt/sorted.bam", "/mnt/reads.sam")),
)


def prefixes(
    image: str, tree: str, work: str, engines: Sequence[str], options: Sequence[str]
) -> dict[str, list[str]]:
    """For native and each engine the words to put before a command."""
    ours = shutil.which("cwl-userspace") or sys.exit("cwl-userspace is not on PATH")
    bwrap = shutil.which("bwrap") or sys.exit("bwrap is not on PATH: it is what native means")
    native = [bwrap, "--unshare-all", "--ro-bind", tree, "/", "--proc", "/proc", "--dev", "/dev"]
    native += ["--tmpfs", "/tmp", "--bind", work, "/mnt", "--setenv", "PATH", "/usr/bin:/bin"]
    found = {NATIVE: native}
    for engine in engines:
        found[engine] = [ours, "--engine", engine, "run", *options, "-v", f"{work}:/mnt", image]
    return found


def working_engines() -> list[str]:
    """The engines that work on this host."""
    command = ["cwl-userspace", "doctor", "--json", "--offline", "--quick"]
    report = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return [engine["name"] for engine in report["engines"] if engine["works"]]


def prepare(work: Path) -> None:
    """What gcc and samtools are to work on; the same on every machine."""
    lines = [
        f"double f{i}(double x) {{ double s = 0; for (int i = 1; i < {i % 7 + 3}; i++)"
        f" s += x / i * {i}.5; return s > {i} ? s : s * f{max(i - 1, 0)}(x / 2); }}"
        for i in range(500)
    ]
    (work / "large.c").write_text("\n".join(lines) + "\n")
    numbers = random.Random(1)
    with (work / "reads.sam").open("w") as file:
        file.write("@HD\tVN:1.6\n@SQ\tSN:chr1\tLN:10000000\n")
        bases = "".join(numbers.choice("ACGT") for _ in range(10_000))
        for number in range(200_000):
            at, cut = numbers.randrange(1, 9_000_000), numbers.randrange(9_900)
            read = f"{bases[cut : cut + 100]}\t{'I' * 100}"
            file.write(f"r{number}\t0\tchr1\t{at}\t60\t100M\t*\t0\t0\t{read}\n")


def run(prefix: Sequence[str], work: Work, rounds: int) -> float:
    """Seconds of wall time."""
    command = [word.replace("{n}", str(rounds)) for word in work.command]
    start = time.perf_counter()
    done = subprocess.run([*prefix, *command], stdin=subprocess.DEVNULL, capture_output=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join([*prefix, *command])}: {done.returncode} {done.stderr.decode()}")
    return seconds


def rounds_of(prefix: Sequence[str], work: Work) -> int:
    """So many that a loop takes long enough to be measured, and not for ever."""
    if not work.rounds:
        return 1
    rounds, start = _FIRST_ROUNDS, run(prefix, WORKS[0], 1)
    while rounds < _MOST_ROUNDS:
        seconds = max(run(prefix, work, rounds) - start, 1e-4)
        if seconds > _LOOP / 2:
            break
        rounds = min(int(rounds * min(10.0, _LOOP / seconds)) + 1, _MOST_ROUNDS)
    return rounds


def measure(
    table: dict[str, list[str]], works: Sequence[Work], runs: int
) -> dict[str, dict[str, list[float]]]:
    """For each work and engine the seconds of each run; of a loop, those of one round."""
    found: dict[str, dict[str, list[float]]] = {work.name: {} for work in works}
    for work in works:
        rounds = {name: rounds_of(prefix, work) for name, prefix in table.items()}
        for turn in range(runs + 1):
            for name, prefix in table.items():
                seconds = run(prefix, work, rounds[name])
                if work.name != START:
                    seconds -= statistics.median(found[START][name])
                if turn:
                    found[work.name].setdefault(name, []).append(seconds / rounds[name])
    return found


def ratios(found: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    """Least, median and most of an engine's times over native's of the same turn."""
    return {
        work: {
            name: [f(own / base for own, base in zip(times, by[NATIVE], strict=True))
                   for f in (min, statistics.median, max)]
            for name, times in by.items()
        }
        for work, by in found.items()
    }  # fmt: skip


def show(found: dict[str, dict[str, list[float]]]) -> None:
    """The table: native's time, and the ratio of each engine with its spread."""
    names = list(next(iter(found.values())))
    print(f"{'':<18}{NATIVE:>12}" + "".join(f"{name:>22}" for name in names[1:]))
    for work, by in ratios(found).items():
        native = statistics.median(found[work][NATIVE])
        unit = f"{1e3 * native:.1f} ms" if native > 1e-3 else f"{1e6 * native:.2f} us"
        line = f"{work:<18}{unit:>12}"
        for name in names[1:]:
            least, middle, most = by[name]
            line += f"{f'{middle:.2f} ({least:.2f}-{most:.2f})':>22}"
        print(line)


def machine() -> dict[str, Any]:
    """What the figures are of."""
    model = [
        s for s in Path("/proc/cpuinfo").read_text().splitlines() if s.startswith("model name")
    ]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "kernel": platform.release(),
        "processor": model[0].partition(": ")[2] if model else platform.machine(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("image", nargs="?", default=IMAGE)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--engines", default="", help="default: all that work here")
    parser.add_argument("--only", default="", help="parts of the names of works, with commas")
    parser.add_argument("--writable", action="store_true", help="the root can be written")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    subprocess.run(["cwl-userspace", "run", given.image, "true"], check=True)
    inspect = ["cwl-userspace", "inspect", "-p", given.image]
    tree = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.strip()
    engines = given.engines.split(",") if given.engines else working_engines()
    wanted = [START, *filter(None, given.only.split(","))] if given.only else [""]
    works = [work for work in WORKS if any(part in work.name for part in wanted)]
    with tempfile.TemporaryDirectory() as directory:
        prepare(Path(directory))
        options = [] if given.writable else ["--read-only"]
        table = prefixes(given.image, tree, directory, engines, options)
        found = measure(table, works, given.runs)
    show(found)
    if given.json:
        result = {"machine": machine(), "seconds": found, "ratios": ratios(found)}
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

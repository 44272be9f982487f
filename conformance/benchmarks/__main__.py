"""Measure everything, beside every peer that is installed: one JSON, from which the page is made.

usage: python -m conformance.benchmarks --work DIR [--quick] [--only PART,...] [--check]

What is missing root installs, by apt, and anybody else is told what to ask for; images are built.
Root mounts a file system in memory for what is made and removed meanwhile, in a name space of its
own, and goes on as a user without rights; anybody else has it in /dev/shm, if there is room. Each
part is kept below DIR as soon as it has ended, and not measured again by the next call with the
same DIR, unless --again is given. On a machine that has other work to do figures mean little: that
is said.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from conformance.benchmarks import ratios
from conformance.benchmarks.bench import Bench, begin, end, scratch
from conformance.benchmarks.machine import BUSY, describe, load, others
from conformance.benchmarks.parts import PARTS, PEERS, PODMAN, add_options, chosen
from conformance.benchmarks.tables import STORED, Part, Results, as_json, part_of, read, write
from conformance.benchmarks.turns import Failed
from conformance.problem import Problem
from conformance.programs import require_programs, wish_for_programs
from conformance.user import go_on_as
from conformance.versions import commit

USER = "cwl-userspace-bench"
_INSIDE = "CWL_USERSPACE_BENCH_INSIDE"
# What is made and removed has at most so many bytes at once; of the largest image of all parts too.
_ROOM, _ROOM_OF_ALL = 4 << 30, 16 << 30


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    words = ["-m", "conformance.benchmarks", *(sys.argv[1:] if argv is None else argv)]
    try:
        wanted = _wanted(options)
        if os.geteuid() == 0 and options.user != "root":
            _as_user(options, words, wanted)
        # What is running below us ends with what it is in, as it does by ^C.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        try:
            with contextlib.ExitStack() as stack:
                room_for = _ROOM if options.check or options.quick else _ROOM_OF_ALL
                place = options.scratch or stack.enter_context(scratch(options.work, room_for))
                bench = _bench(options, place)
                begin(bench)
                _install(options, wanted)
                _build(bench, wanted)
                return _check(bench) if options.check else _measure(bench, wanted, options.again)
        finally:
            end(options.work)
    except Problem as problem:
        problem.report("conformance.benchmarks")
    except Failed as failed:
        Problem(str(failed)).report("conformance.benchmarks")
    return 1


def _wanted(options: argparse.Namespace) -> list[str]:
    """The parts to measure."""
    if not options.check:
        return chosen(filter(None, options.only.split(",")))
    parts = list(ratios.needed(read(STORED)))
    if not parts:
        raise Problem(f"'{STORED}' has no ratio that was measured on a machine at rest")
    return parts


def _install(options: argparse.Namespace, wanted: Sequence[str]) -> None:
    """See that the programs of these parts are here. Raises a Problem for one that is needed."""
    wish_for_programs(*(PODMAN if options.check else PEERS))
    require_programs(*sorted({one for name in wanted for one in PARTS[name].programs}))


def _build(bench: Bench, wanted: Sequence[str]) -> None:
    """Build the images of these parts that are not there. Raises a Problem."""
    bench.build(dict.fromkeys(one for name in wanted for one in PARTS[name].images(bench)))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="conformance.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="all goes there")
    parser.add_argument("--quick", action="store_true", help="a few minutes, to try it")
    parser.add_argument("--only", default="", help=f"of: {', '.join(PARTS)}; or growth")
    parser.add_argument("--again", action="store_true", help="measure what is there already")
    parser.add_argument("--check", action="store_true", help="measure README's ratios again")
    parser.add_argument("--turns", type=int, default=0, help="in place of what each part has")
    parser.add_argument("--ways", default="", help="parts of names of ways, with commas")
    text = "an OCI layout that has images of conformance.images already; may be repeated"
    parser.add_argument("--layout", type=Path, action="append", default=[], help=text)
    text = "where things are made and removed; default: memory"
    parser.add_argument("--scratch", type=Path, metavar="DIR", help=text)
    parser.add_argument("--memory", default="75%", help="the most that this tmpfs may have")
    parser.add_argument("--user", default=USER, help="whom root becomes; root to stay root")
    add_options(parser)
    options = parser.parse_args(argv)
    options.work = options.work.absolute()
    return options


def _as_user(options: argparse.Namespace, words: Sequence[str], wanted: Sequence[str]) -> None:
    """Go on in name spaces of our own, with memory to work in; then as that user.

    Before that programs are installed, and images built in that memory, where dpkg never waits.
    With the first process of a name space all others end, registries and what podman leaves behind,
    and with the last the memory is free. A shell is the first, because it buries who has no parent.
    """
    if _INSIDE not in os.environ:
        _install(options, wanted)
        os.environ[_INSIDE] = "1"
        alone = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork"]
        shell = ["--kill-child", "--mount-proc", "sh", "-c", '"$@"; exit $?', "sh"]
        os.execvp("unshare", [*alone, *shell, sys.executable, *words])
    if options.scratch is None:
        place = options.work / "scratch"
        place.mkdir(parents=True, exist_ok=True)
        settings = f"size={options.memory},mode=1777"
        subprocess.run(["mount", "-t", "tmpfs", "-o", settings, "none", str(place)], check=True)
        os.environ["TMPDIR"] = str(place)
    _build(_bench(options, options.work), wanted)
    # podman is nothing without subordinate ids, and we are the same with them.
    go_on_as(options.user, words, options.work, [], subordinate_ids=True)


def _bench(options: argparse.Namespace, place: Path) -> Bench:
    return Bench(
        work=options.work,
        scratch=place.absolute(),
        layouts=tuple(place.absolute() for place in options.layout),
        quick=options.quick,
        turns=options.turns,
        ways=tuple(filter(None, options.ways.split(","))),
        jobs=options.jobs,
        files=options.files,
        sizes=options.sizes,
        pullers=options.pullers,
        mounts=options.mounts,
    )


def _measure(bench: Bench, names: Sequence[str], again: bool) -> int:
    """Measure what is missing, and put all that there is into one file."""
    kept = bench.work / "parts"
    kept.mkdir(exist_ok=True)
    failed = []
    for name in names:
        path = kept / f"{name}.json"
        if path.exists() and not again:
            print(f"{name}: measured already", file=sys.stderr)
            continue
        try:
            part = _part(bench, name)
        except Exception:  # hours of other parts are not to be lost with one
            traceback.print_exc()
            failed.append(name)
            continue
        aside = path.with_suffix(".partial")
        aside.write_text(json.dumps(as_json(part)))
        aside.replace(path)
    parts = {
        name: part_of(json.loads(path.read_text()))
        for name in PARTS
        if (path := kept / f"{name}.json").exists()
    }
    target = bench.work / "results.json"
    write(Results(describe(bench.scratch), parts), target)
    print(f"{target}: take it over by: python -m conformance.benchmarks.page --add {target}")
    if failed:
        print(f"not measured, see above: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _part(bench: Bench, name: str) -> Part:
    before, busy, start = load(), others(), time.monotonic()
    if busy > BUSY:
        print(f"{name}: {busy} processors are busy: figures mean little", file=sys.stderr)
    print(f"{name}: begun at {time.strftime('%H:%M:%S')}", file=sys.stderr)
    tables = PARTS[name].measure(bench)
    seconds = time.monotonic() - start
    print(f"{name}: {seconds:.0f} s", file=sys.stderr)
    date = time.strftime("%Y-%m-%d")
    # What programs have said names places of this machine, which say nothing to anybody else.
    tables = [
        table._replace(
            left_out={n: s.replace(str(bench.work), "DIR") for n, s in table.left_out.items()}
        )
        for table in tables
    ]
    measured = (date, round(before, 2), max(busy, others()), round(seconds, 1))
    return Part(tables, *measured, bench.quick, commit())


def _check(bench: Bench) -> int:
    """Measure the ratios of the README again; 1 if one of them is not what stands there."""
    stored = read(STORED)
    parts = {
        name: _part(bench._replace(ways=tuple(sorted(ways)), exact=True), name)
        for name, ways in ratios.needed(stored).items()
    }
    again = Results(describe(bench.scratch), parts)
    write(again, bench.work / "check.json")
    lines = list(ratios.compared(stored, again))
    for line in (*(line for line, _ in lines), *ratios.verdict(lines, again)):
        print(line)
    return 0 if all(good for _, good in lines) else 1


if __name__ == "__main__":
    sys.exit(main())

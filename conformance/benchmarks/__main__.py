"""Measure everything, beside every peer that is installed: one JSON, from which the page is made.

usage: python -m conformance.benchmarks --work DIR [--quick] [--only PART,...] [--check]

Root mounts a file system in memory for what is made and removed meanwhile, in a name space of its
own, and goes on as a user without rights. Each part is kept below DIR as soon as it has ended, and
not measured again by the next call with the same DIR, unless --again is given. Nothing is written
elsewhere. On a machine that has other work to do, figures mean little: that is said.
"""

from __future__ import annotations

import argparse
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
from conformance.benchmarks.bench import Bench, begin, end
from conformance.benchmarks.machine import BUSY, describe, load, others
from conformance.benchmarks.parts import PARTS, add_options, chosen
from conformance.benchmarks.tables import STORED, Part, Results, as_json, part_of, read, write
from conformance.benchmarks.turns import Failed
from conformance.problem import Problem
from conformance.user import go_on_as
from conformance.versions import commit

USER = "cwl-userspace-bench"
_INSIDE = "CWL_USERSPACE_BENCH_INSIDE"


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    words = ["-m", "conformance.benchmarks", *(sys.argv[1:] if argv is None else argv)]
    try:
        if os.geteuid() == 0 and options.user != "root":
            _as_user(options, words)
        bench = _bench(options)
        # What is running below us ends with what it is in, as it does by ^C.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        begin(bench)
        try:
            if options.check:
                return _check(bench)
            return _measure(bench, chosen(filter(None, options.only.split(","))), options.again)
        finally:
            end(bench)
    except Problem as problem:
        problem.report("conformance.benchmarks")
    except Failed as failed:
        Problem(str(failed)).report("conformance.benchmarks")
    return 1


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
    text = "where things are made and removed; default: DIR/scratch, where root mounts a tmpfs"
    parser.add_argument("--scratch", type=Path, metavar="DIR", help=text)
    parser.add_argument("--memory", default="75%", help="the most that this tmpfs may have")
    parser.add_argument("--user", default=USER, help="whom root becomes; root to stay root")
    add_options(parser)
    options = parser.parse_args(argv)
    options.work = options.work.absolute()
    return options


def _as_user(options: argparse.Namespace, words: Sequence[str]) -> None:
    """Go on in name spaces of our own, with memory to work in; then as that user.

    With the first process of a name space all others end, registries and what podman leaves behind,
    and with the last the memory is free. A shell is the first, because it buries who has no parent.
    """
    if _INSIDE not in os.environ:
        os.environ[_INSIDE] = "1"
        alone = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork"]
        shell = ["--kill-child", "--mount-proc", "sh", "-c", '"$@"; exit $?', "sh"]
        os.execvp("unshare", [*alone, *shell, sys.executable, *words])
    if options.scratch is None:
        scratch = options.work / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        settings = f"size={options.memory},mode=1777"
        subprocess.run(["mount", "-t", "tmpfs", "-o", settings, "none", str(scratch)], check=True)
    # podman is nothing without subordinate ids, and we are the same with them.
    go_on_as(options.user, words, options.work, [], subordinate_ids=True)


def _bench(options: argparse.Namespace) -> Bench:
    return Bench(
        work=options.work,
        scratch=(options.scratch or options.work / "scratch").absolute(),
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
    for image in PARTS[name].images(bench):
        bench.layout(image)
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
    if not ratios.needed(stored):
        raise Problem(f"'{STORED}' has no ratio that was measured on a machine at rest")
    parts = {
        name: _part(bench._replace(ways=tuple(sorted(ways)), exact=True), name)
        for name, ways in ratios.needed(stored).items()
    }
    again = Results(describe(bench.scratch), parts)
    write(again, bench.work / "check.json")
    lines = list(ratios.compared(stored, again))
    for line, _ in lines:
        print(line)
    return 0 if lines and all(good for _, good in lines) else 1


if __name__ == "__main__":
    sys.exit(main())

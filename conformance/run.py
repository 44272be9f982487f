"""Runs the CWL conformance tests through cwl-userspace, and fails unless all of them pass."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from conformance import suite
from conformance.doors import DOORS, ENGINES, NO_ENGINE, Place
from conformance.loopback import redirected, serving
from conformance.problem import Problem
from conformance.programs import require_programs
from conformance.report import Ran, Verdict, describe, judge, publish
from conformance.witness import watching

STAND_IN = " (loopback stand-in)"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conformance.run", description=__doc__)
    parser.add_argument(
        "--suite", required=True, type=Path, metavar="DIR", help="with conformance_tests.yaml"
    )
    parser.add_argument(
        "--images", required=True, type=Path, metavar="DIR", help="from conformance.images"
    )
    parser.add_argument("--door", choices=DOORS, default="extension")
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="none for a baseline")
    parser.add_argument(
        "--only",
        default="containers",
        metavar="WHICH",
        help="containers (default), all, or test names with commas between them",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="tests at once")
    parser.add_argument("--timeout", type=int, default=600, metavar="S", help="for each test")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="also write the results here")
    parser.add_argument(
        "--output", type=Path, default=Path("conformance-output"), metavar="DIR", help="for logs"
    )
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        "--internet", action="store_true", help="let 'networkaccess' open the public URL"
    )
    network.add_argument(
        "--strict-network",
        action="store_true",
        help="let 'networkaccess_disabled' try the local server too: without internet it"
        " otherwise passes whether or not the engine cuts the network off",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    (options.engine,) = DOORS[options.door].engines((options.engine,))
    try:
        with watching() as witness:
            verdict, seconds, marks = _run(options)
    except Problem as problem:
        problem.report("conformance.run")
        return 2
    except KeyboardInterrupt:
        return 130
    for failure in verdict.failures:
        print(describe(failure._replace(test=marks.get(failure.test, failure.test))))
    marked = "".join(f", {mark}" for mark in marks.values())
    print(
        f"{options.door} {options.engine}: {verdict.passed} of {verdict.selected} passed"
        f" in {seconds:.0f} s{marked}; {witness}"
    )
    if complaint := witness.complaint(options.engine):
        print(f"{options.door} {options.engine}: {complaint}")
    return 1 if verdict.failures or complaint else 0


def _run(options: argparse.Namespace) -> tuple[Verdict, float, dict[str, str]]:
    door = DOORS[options.door]
    if not (options.images / "index.json").is_file():
        raise Problem(
            f"no images in '{options.images}'",
            f"make them: python3 -m conformance.images --to {options.images}",
        )
    # cwltool evaluates JavaScript with it, outside of all containers.
    require_programs("node", *door.needs)
    output: Path = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(_scratch())
        tests = suite.choose(suite.load(options.suite, scratch / "suite"), options.only)
        replaced = _stand_ins(options, tests, output, stack)
        selected = output / "selected.yml"
        suite.write([*{**tests, **replaced}.values()], selected)
        environment = _environment(options, output, scratch)
        place = Place(options.engine, output, scratch, environment, stack)
        command = door.command(place)
        environment.update(door.environment(place))
        started = time.monotonic()
        ran = _cwltest(options, command, selected, environment)
        seconds = time.monotonic() - started
    verdict = judge(ran, tests)
    publish(ran, verdict, options.junit or ran.junit)
    return verdict, seconds, {name: name + STAND_IN for name in replaced}


def _stand_ins(
    options: argparse.Namespace,
    tests: dict[str, suite.Test],
    output: Path,
    stack: contextlib.ExitStack,
) -> dict[str, suite.Test]:
    names = ["networkaccess", *(["networkaccess_disabled"] if options.strict_network else [])]
    names = [name for name in names if name in tests and not options.internet]
    if not names:
        return {}
    url = stack.enter_context(serving())
    return {name: redirected(tests[name], url, output) for name in names}


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A TMPDIR for the run: cwltest leaves the outputs of every test in it."""
    folder = tempfile.mkdtemp(prefix="conformance-")
    try:
        yield Path(folder)
    finally:
        # Some tests leave directories that not even their owner may write to.
        for parent, names, _ in os.walk(folder):
            for path in (Path(parent, name) for name in names):
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)


def _environment(options: argparse.Namespace, output: Path, scratch: Path) -> dict[str, str]:
    config = output / "config.yml"
    mirror = json.dumps(f"oci:{options.images.resolve()}")
    config.write_text(f"registries:\n  docker.io:\n    mirrors: [{mirror}]\n")
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "TMPDIR": str(scratch),
        "CWL_USERSPACE_CONFIG": str(config),
        **({} if options.engine == NO_ENGINE else {"CWL_USERSPACE_ENGINE": options.engine}),
    }


def _cwltest(
    options: argparse.Namespace,
    command: Sequence[str],
    selected: Path,
    environment: dict[str, str],
) -> Ran:
    runner, *words = command
    results = selected.with_name("results.xml")
    results.unlink(missing_ok=True)
    words = [
        *(sys.executable, "-m", "cwltest.main"),
        *("--test", str(selected)),
        *("--tool", runner),
        *("--junit-xml", str(results)),
        *("-j", str(options.jobs)),
        *("--timeout", str(options.timeout)),
        "--",
        *words,
        # One test has a "#" in a file name, which cwltool refuses without this.
        "--relax-path-checks",
    ]
    log = selected.with_name("cwltest.log")
    live = sys.stderr.isatty()
    with (
        open(log, "w") as kept,
        subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr
        for line in process.stderr:
            kept.write(line)
            if live and line.startswith("Test ["):
                sys.stderr.write(f"\r\x1b[K{line.rstrip()[:78]}")
                sys.stderr.flush()
    if live:
        sys.stderr.write("\r\x1b[K")
    if not results.exists():
        raise Problem(
            f"cwltest ended with status {process.returncode} before its report", f"see '{log}'"
        )
    return Ran(process.returncode, results, log.read_text())


if __name__ == "__main__":
    sys.exit(main())

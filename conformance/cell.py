"""Runs one cell of the matrix: the tests of a suite through one door with one engine."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from conformance import expected, records, suite, versions
from conformance.doors import NO_ENGINE, Door, Place
from conformance.loopback import redirected, serving
from conformance.problem import Problem
from conformance.programs import require_programs
from conformance.records import Record
from conformance.results import Result, summarize
from conformance.selection import wants_container
from conformance.sources import Source, commit
from conformance.witness import Witness, watching

_TOP = Path(__file__).parent.parent

# One test has a "#" in a file name, which cwltool refuses without this.
_RELAXED = "--relax-path-checks"


class Cell(NamedTuple):
    source: Source
    door: Door
    engine: str

    @property
    def name(self) -> str:
        return "-".join(self.key)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.source.version, self.door.name, self.engine


class Wish(NamedTuple):
    """What is asked of every cell."""

    images: Path
    # `containers`, `all`, or names of tests with commas between them
    only: str = "containers"
    jobs: int = 1
    # Seconds for each test.
    timeout: int = 600
    # Whether `networkaccess` may open its public URL.
    internet: bool = False
    # Whether tests that have passed with the same versions are left alone.
    resume: bool = False


class Done(NamedTuple):
    result: Result
    records: list[Record]
    # What contradicts that the engine ran the tools; nothing if all is well.
    complaint: str


Progress = Callable[[str], None]


def run(cell: Cell, wish: Wish, folder: Path, progress: Progress) -> Done:
    """Runs it, with all that it leaves in the folder; raises a Problem where it cannot start."""
    if not (wish.images / "index.json").is_file():
        raise Problem(
            f"no images in '{wish.images}'",
            f"make them: python3 -m conformance.images --to {wish.images}",
        )
    require_programs(*cell.door.needs)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(_scratch(folder))
        tests = suite.choose(suite.load(cell.source.tests, scratch / "suite"), wish.only)
        network = _network(cell, wish, tests, folder, stack)
        environment = _environment(cell, wish, folder, scratch)
        place = Place(cell.engine, folder, scratch, environment, stack)
        command = [*cell.door.command(place), _RELAXED]
        environment.update(cell.door.environment(place))
        found = versions.collect(cell.door)
        key = _key(cell, wish, found)
        kept = records.passed(folder / "records.jsonl", key, tests) if wish.resume else {}
        if not wish.resume:
            (folder / "records.jsonl").unlink(missing_ok=True)
        left = {
            name: network.replaced.get(name, test)
            for name, test in tests.items()
            if name not in kept
        }
        started = time.monotonic()
        witness, ran = _run_left(left, command, wish, folder, environment, key, progress)
        elapsed = time.monotonic() - started
        seen = _seen(folder / "seen.json", witness, bool(kept))
        containers = {name for name, test in tests.items() if wants_container(str(test["tool"]))}
    all_records = [{**kept, **ran}[name] for name in tests]
    result = summarize(cell.key, all_records, containers, expected.read(), cell.door.baseline)
    result = result._replace(
        only=wish.only,
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        versions={**found, "suite": commit(cell.source) or cell.source.digest()},
        jobs=wish.jobs,
        load=round(os.getloadavg()[1], 1),
        cores=os.cpu_count() or 1,
        elapsed=round(elapsed),
        loopback=sorted(network.replaced),
        vacuous=sorted(network.vacuous),
        seen=seen,
    )
    return Done(result, all_records, witness.complaint(cell.engine, bool(containers & set(ran))))


class _Network(NamedTuple):
    # Tests that open a server on the loopback interface in place of their URL.
    replaced: dict[str, suite.Test]
    # Tests that pass here whatever the engine does.
    vacuous: list[str]


def _network(
    cell: Cell,
    wish: Wish,
    tests: Mapping[str, suite.Test],
    folder: Path,
    stack: contextlib.ExitStack,
) -> _Network:
    """Without internet a tool that may not have the network fails even if nothing was cut off."""
    if wish.internet:
        return _Network({}, [])
    names = ["networkaccess", *(["networkaccess_disabled"] if cell.door.networks else [])]
    names = [name for name in names if name in tests]
    vacuous = [name for name in ("networkaccess_disabled",) if name in tests and name not in names]
    if not names:
        return _Network({}, vacuous)
    url = stack.enter_context(serving())
    return _Network({name: redirected(tests[name], url, folder) for name in names}, vacuous)


def _run_left(
    left: Mapping[str, suite.Test],
    command: Sequence[str],
    wish: Wish,
    folder: Path,
    environment: Mapping[str, str],
    key: str,
    progress: Progress,
) -> tuple[Witness, dict[str, Record]]:
    """Runs these tests and keeps a record of each as soon as it has ended."""
    ran: dict[str, Record] = {}
    plan = folder / "plan.json"
    told = {
        "tests": list(left.values()),
        "command": command,
        "jobs": wish.jobs,
        "timeout": wish.timeout,
    }
    plan.write_text(json.dumps(told, indent=1), encoding="utf-8")
    with watching() as witness:
        if left:
            for record in _driven(plan, environment):
                ran[record.test] = record._replace(key=key)
                records.append(folder / "records.jsonl", ran[record.test])
                progress(f"{len(ran)} of {len(left)}: {record.test} {record.outcome}")
    missing = [name for name in left if name not in ran]
    if missing:
        raise Problem(
            f"cwltest ended before {len(missing)} tests, such as '{missing[0]}'",
            f"see '{folder / 'cwltest.log'}', and go on with --resume",
        )
    return witness, ran


def _seen(path: Path, witness: Witness, more: bool) -> dict[str, int]:
    """What was seen, with what was seen before it where this run has gone on with another."""
    counts = Counter(witness.counts())
    if more and path.exists():
        counts.update(json.loads(path.read_text()))
    path.write_text(json.dumps(counts))
    return dict(counts)


def _driven(plan: Path, environment: Mapping[str, str]) -> Iterator[Record]:
    # A session of its own, and a pipe that tells it when we are gone.
    with (
        open(plan.with_name("cwltest.log"), "ab") as log,
        subprocess.Popen(
            [sys.executable, "-m", "conformance.driver", str(plan)],
            cwd=_TOP,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout
        for line in process.stdout:
            record = records.parse(line)
            if record:
                yield record


def _environment(cell: Cell, wish: Wish, folder: Path, scratch: Path) -> dict[str, str]:
    config = folder / "config.yml"
    mirror = json.dumps(f"oci:{wish.images.resolve()}")
    config.write_text(f"registries:\n  docker.io:\n    mirrors: [{mirror}]\n")
    forced = {} if cell.engine == NO_ENGINE else {"CWL_USERSPACE_ENGINE": cell.engine}
    return {
        **os.environ,
        **forced,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "TMPDIR": str(scratch),
        "CWL_USERSPACE_CONFIG": str(config),
    }


def _key(cell: Cell, wish: Wish, found: Mapping[str, str]) -> str:
    images = hashlib.sha256((wish.images / "index.json").read_bytes()).hexdigest()
    door = [cell.door.runner, *cell.door.words]
    return versions.key(found, cell.source.digest(), images, *door, cell.engine, str(wish.internet))


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A TMPDIR for the cell: the outputs of every test are left in it. One run of it at a time.

    Its name follows from the cell's, so that what a killed run has left is removed by the next.
    """
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    scratch = Path(tempfile.gettempdir(), f"conformance-{os.getuid()}-{name}")
    with open(folder / ".lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Problem(
                f"'{folder}' is in use by another run", "give this one another --output"
            ) from error
        _remove(scratch)
        scratch.mkdir(mode=0o700)
        try:
            yield scratch
        finally:
            _remove(scratch)


def _remove(scratch: Path) -> None:
    # Some tests leave directories that not even their owner may write to.
    for parent, names, _ in os.walk(scratch):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(scratch, ignore_errors=True)

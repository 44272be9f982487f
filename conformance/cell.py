"""Runs one cell of the matrix: the tests of a suite through one door with one engine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from conformance import expected, records, suite, versions
from conformance.doors import NO_ENGINE, Door, Place
from conformance.loopback import Network, stand_ins
from conformance.problem import Problem
from conformance.programs import require_programs
from conformance.records import Record
from conformance.results import Result, summarize
from conformance.scratch import scratch_of
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
    # Where the images go, unless the caller's environment says where.
    store: Path | None = None


class Done(NamedTuple):
    result: Result
    records: list[Record]
    # What contradicts that the engine ran the tools; nothing if all is well.
    complaint: str
    # How many tests were left alone, since they had passed before.
    kept: int


Progress = Callable[[str], None]


def run(cell: Cell, wish: Wish, folder: Path, progress: Progress) -> Done:
    """Runs it, with all that it leaves in the folder; raises a Problem where it cannot start."""
    _require(cell, wish)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(scratch_of(folder))
        tests = suite.choose(suite.load(cell.source.tests, scratch / "suite"), wish.only)
        containers = {name for name, test in tests.items() if wants_container(str(test["tool"]))}
        network = Network({}, [])
        if not wish.internet:
            network = stand_ins(tests, cell.door.networks, folder, stack)
        environment = _environment(cell, wish, folder, scratch)
        place = Place(cell.engine, folder, scratch, environment, stack)
        command = [*cell.door.command(place), _RELAXED]
        environment.update(cell.door.environment(place))
        found = versions.collect(cell.door)
        all_tests = {**tests, **network.replaced}
        go = _Go(cell, folder, all_tests, command, environment, progress)
        ran, kept, seen, complaint = _rest(go, wish, _key(cell, wish, found), containers)
    result = summarize(cell.key, ran, containers, expected.read(), cell.door.baseline)
    result = result._replace(
        versions={**found, "suite": commit(cell.source) or cell.source.digest()},
        elapsed=round(time.monotonic() - started),
        loopback=sorted(network.replaced),
        vacuous=sorted(network.vacuous),
        seen=seen,
    )
    return Done(_stamped(result, wish), ran, complaint, kept)


def _require(cell: Cell, wish: Wish) -> None:
    if not (wish.images / "index.json").is_file():
        raise Problem(
            f"no images in '{wish.images}'",
            f"make them: python3 -m conformance.images --to {wish.images}",
        )
    require_programs(*cell.door.needs)


def _stamped(result: Result, wish: Wish) -> Result:
    return result._replace(
        only=wish.only,
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        jobs=wish.jobs,
        load=round(os.getloadavg()[1], 1),
        cores=os.cpu_count() or 1,
    )


class _Go(NamedTuple):
    cell: Cell
    folder: Path
    tests: dict[str, suite.Test]
    command: list[str]
    environment: dict[str, str]
    progress: Progress


def _rest(
    go: _Go, wish: Wish, key: str, containers: Set[str]
) -> tuple[list[Record], int, dict[str, int], str]:
    """Runs what is left to run.

    Records of all tests, how many are from before, what engines were seen, and what is wrong there.
    """
    path = go.folder / "records.jsonl"
    kept = records.passed(path, key, go.tests) if wish.resume else {}
    if not wish.resume:
        path.unlink(missing_ok=True)
    left = [test for name, test in go.tests.items() if name not in kept]
    with watching() as witness:
        ran = _run(left, go, wish, key)
    seen = _seen(go.folder / "seen.json", witness, bool(kept))
    complaint = witness.complaint(go.cell.engine, bool(containers & set(ran)))
    if complaint:
        # Nobody knows which of them the other engine has run.
        path.unlink(missing_ok=True)
    return [{**kept, **ran}[name] for name in go.tests], len(kept), seen, complaint


def _run(left: Sequence[suite.Test], go: _Go, wish: Wish, key: str) -> dict[str, Record]:
    """Runs these tests and keeps a record of each as soon as it has ended."""
    ran: dict[str, Record] = {}
    plan = go.folder / "plan.json"
    told = {
        "tests": left,
        "command": go.command,
        "tagged": go.cell.door.tagged,
        "jobs": wish.jobs,
        "timeout": wish.timeout,
    }
    plan.write_text(json.dumps(told, indent=1), encoding="utf-8")
    for record in _driven(plan, go.environment) if left else ():
        ran[record.test] = record._replace(key=key)
        records.append(go.folder / "records.jsonl", ran[record.test])
        go.progress(f"{len(ran)} of {len(left)}: {record.test} {record.outcome}")
    missing = [test["id"] for test in left if test["id"] not in ran]
    if missing:
        raise Problem(
            f"cwltest ended before {len(missing)} tests, such as '{missing[0]}'",
            f"see '{go.folder / 'cwltest.log'}', and go on with --resume",
        )
    return ran


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
    store = {"CWL_USERSPACE_HOME": str(wish.store)} if wish.store else {}
    return {
        **store,
        **os.environ,
        **forced,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "TMPDIR": str(scratch),
        "CWL_USERSPACE_CONFIG": str(config),
    }


def _key(cell: Cell, wish: Wish, found: Mapping[str, str]) -> str:
    images = hashlib.sha256((wish.images / "index.json").read_bytes()).hexdigest()
    door = [cell.door.runner, *cell.door.words, json.dumps(cell.door.tagged, sort_keys=True)]
    return versions.key(found, cell.source.digest(), images, *door, cell.engine, str(wish.internet))

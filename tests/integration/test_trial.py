"""The trial of engines: what each promises is what it keeps, and a broken promise is found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cwl_userspace.engines import base, choose
from cwl_userspace.engines.base import PROMISES, Launch
from cwl_userspace.settings import load
from cwl_userspace.spec import ContainerSpec, Identity, Limits, Mount
from cwl_userspace.trial import contradictions, try_engine
from cwl_userspace.trial.probes import Finding
from tests.containers import ENGINES, PATIENCE, UNCOUNTED, Home, all_gone, waiting
from tests.engines import working

# What must be kept at least on this kernel; the rest an engine may leave out, with a reason.
ALL = set(PROMISES)
LEAST = {
    "userns": ALL,
    "bwrap": ALL,
    "runc": ALL,
    "crun": ALL,
    "chroot": ALL,
    "proot": ALL - {base.PRIVATE_PIDS},
    "fakechroot": {base.CLEAN_ENVIRONMENT, base.EXIT_CODES, base.NO_SURVIVORS},
    "charliecloud": ALL - {base.PRIVATE_PIDS},
}


@pytest.fixture(scope="module")
def report(home: Home) -> dict[str, dict[str, Any]]:
    """What doctor says of each engine."""
    done = subprocess.run(
        home.command("doctor", "--json", "--offline"),
        env={**home.environment, **UNCOUNTED},
        capture_output=True,
        timeout=100,
    )
    assert done.stderr == b"", done
    return {engine["name"]: engine for engine in json.loads(done.stdout)["engines"]}


@pytest.mark.parametrize("name", working())
def test_an_engine_keeps_what_it_promises_and_nothing_else(
    report: Mapping[str, dict[str, Any]], name: str
) -> None:
    engine = report[name]
    kept = {promise: found["kept"] for promise, found in engine["tried"].items()}
    claimed = {promise: reason == "" for promise, reason in engine["promises"].items()}
    odd = [promise for promise in kept if kept[promise] != claimed[promise]]
    assert {promise: engine["tried"][promise]["reason"] for promise in odd} == {}
    assert list(kept) == list(PROMISES)
    assert engine["broken"] == {}


@pytest.mark.parametrize("name", [name for name in working() if name in LEAST])
def test_an_engine_promises_the_least_that_is_expected_of_it(
    report: Mapping[str, dict[str, Any]], name: str
) -> None:
    promises = report[name]["promises"]
    assert {promise for promise in LEAST[name] if promises[promise]} == set()
    # The rest is named, by more than a word.
    assert all(reason == "" or " " in reason for reason in promises.values())


def test_an_engine_that_does_not_work_here_says_why(
    report: Mapping[str, dict[str, Any]],
) -> None:
    assert set(report) == {*choose.names()} and {*ENGINES} <= {*working()}
    idle = {name: engine["reason"] for name, engine in report.items() if not engine["works"]}
    assert set(idle) == {*choose.names()} - {*working()} and all(idle.values())


class Changed:
    """The engine userns, with something changed that it promises all the same."""

    name = "changed"

    def __init__(
        self,
        spec: Callable[[ContainerSpec], None] = lambda spec: None,
        launch: Callable[[Launch], None] = lambda launch: None,
    ) -> None:
        self._inner = choose.make("userns", load(os.environ), os.environ)
        self._spec = spec
        self._launch = launch

    def unavailable(self) -> str | None:
        return self._inner.unavailable()

    def promises(self) -> Mapping[str, str]:
        return self._inner.promises()

    def notes(self) -> list[str]:
        return []

    def copies(self, spec: ContainerSpec) -> bool:
        return False

    def launch(self, spec: ContainerSpec, private: str) -> Launch:
        self._spec(spec)
        launch = self._inner.launch(spec, private)
        self._launch(launch)
        return launch


def tried(engine: Changed, place: Path) -> dict[str, Finding]:
    place.mkdir()
    return try_engine(engine, str(place), os.environ)


@pytest.mark.once
def test_an_engine_that_ignores_what_is_asked_is_found_out(tmp_path: Path) -> None:
    place = tmp_path / "place"

    def ignore(spec: ContainerSpec) -> None:
        spec.mounts = (*(Mount(m.source, m.target) for m in spec.mounts), Mount("/sys", "/sys"))
        spec.mounts += (Mount(str(place), str(place)),)
        spec.environment["OF_OURS"] = "here"
        spec.network_off = spec.read_only = spec.tty = False
        spec.identity = Identity(os.geteuid(), os.getegid(), "", "/", emulate_root=False)
        spec.limits = Limits()

    def show_processes(launch: Launch) -> None:
        for operation in launch.inside:
            if operation[0] == "process_files":
                operation[2] = False

    found = tried(Changed(ignore, show_processes), place)
    reasons = {promise: found[promise].reason for promise in PROMISES if not found[promise].kept}
    assert "through /escape" in reasons.pop(base.PRIVATE_ROOT)
    assert "OF_OURS" in reasons.pop(base.CLEAN_ENVIRONMENT)
    assert "server of the host is reached" in reasons.pop(base.NETWORK_OFF)
    assert "source of a bind was changed" in reasons.pop(base.READ_ONLY_BINDS)
    assert "/data" in reasons.pop(base.READ_ONLY_ROOT)
    assert "processes of the host are shown" in reasons.pop(base.PRIVATE_PIDS)
    assert "uid 0" in reasons.pop(base.EMULATED_ROOT) or os.geteuid() == 0
    limits = reasons.pop(base.LIMITS)
    assert "memory" in limits and "time" in limits and "processors" in limits
    assert "terminal" in reasons.pop(base.TERMINAL)
    assert reasons == {}
    assert set(contradictions(dict.fromkeys(PROMISES, ""), found)) >= {base.LIMITS}


@pytest.mark.once
def test_a_changed_image_a_wrong_code_and_a_survivor_are_found_out(tmp_path: Path) -> None:
    def change(spec: ContainerSpec) -> None:
        spec.own_tree = True
        if spec.argv[-1] == "7":
            spec.argv = (*spec.argv[:-1], "6")

    def leave_one_alive(launch: Launch) -> None:
        """As a daemon of the engine's own would be, with the container's arguments."""
        if "background" in launch.argv[-2]:
            command = [sys.executable, "-c", "import time; time.sleep(60)", *launch.argv]
            subprocess.Popen(command, start_new_session=True)

    found = tried(Changed(change, leave_one_alive), tmp_path / "place")
    assert "the image was changed" in found[base.PRIVATE_ROOT].reason
    assert "7 becomes 6" in found[base.EXIT_CODES].reason
    survivors = found[base.NO_SURVIVORS].reason
    assert "after the end of the program" in survivors and "still alive" in survivors
    assert "after SIGKILL of the supervisor" in survivors


@pytest.mark.once
def test_an_engine_that_cannot_start_anything_has_kept_nothing(tmp_path: Path) -> None:
    def fail(launch: Launch) -> None:
        launch.inside.append(["hostname"])

    found = tried(Changed(launch=fail), tmp_path / "place")
    assert {finding.kept for finding in found.values()} == {None}
    assert all("cannot try" in finding.reason for finding in found.values())
    assert os.listdir(tmp_path / "place") == []


CARELESS = """
    from cwl_userspace.engines import choose
    from cwl_userspace.engines.userns import Userns

    class Careless(Userns):
        def launch(self, spec, private):
            spec.environment["OF_OURS"] = "here"
            return super().launch(spec, private)

    def engine(settings, environ):
        found = choose.make("userns", settings, environ)
        found.__class__ = Careless
        return found
"""


@pytest.mark.once
def test_doctor_says_loudly_what_is_promised_and_not_kept(home: Home, tmp_path: Path) -> None:
    """An engine of another package, found by its entry point, that is careless."""
    (tmp_path / "careless.py").write_text(textwrap.dedent(CARELESS))
    about = tmp_path / "careless-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: careless\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[cwl_userspace.engines]\ncareless = careless:engine\n")
    added = {"PYTHONPATH": str(tmp_path), **UNCOUNTED}
    quick = home.call("doctor", "--offline", "--quick", environment=added)
    assert quick.code == 0 and b"clean environment: promised, not tried" in quick.out
    ran = home.call("doctor", "--offline", environment=added)
    assert ran.code == 1
    said = "careless promised clean environment, but variables that nobody gave are set (OF_OURS)"
    assert f"  ! {said}\n" in ran.out.decode()


def test_nothing_is_left_of_trials_that_are_killed_in_the_middle(home: Home) -> None:
    process = subprocess.Popen(
        home.command("doctor", "--offline"),
        env=home.environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    for _ in waiting(PATIENCE):
        if words := trials_below(process.pid):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert words
    assert all_gone(words.pop(), 15)


def trials_below(pid: int) -> set[str]:
    """The words of trials that go on below a process and have containers."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = entry.read_bytes().split(b"\0")
            session = (entry.parent / "stat").read_text().rpartition(")")[2].split()[3]
        except OSError:
            continue
        if session == str(pid) and len(arguments) > 2 and arguments[-2].startswith(b"trial-"):
            found.add(arguments[-2].decode())
    return found

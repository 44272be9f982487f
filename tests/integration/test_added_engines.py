"""An engine of another package, as docs/engines.rst has it: found, chosen by name, and run."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

import cwl_userspace
from tests.containers import Home, Ran, all_gone, manifest, marker

DOCUMENT = Path(cwl_userspace.__file__).parent.parent / "docs/engines.rst"


class Installed:
    """A directory for PYTHONPATH into which distributions are installed."""

    def __init__(self, home: Home, place: Path) -> None:
        self.home = home
        self.place = place

    def add(self, name: str, module: str, entry: str) -> None:
        """A module, and the metadata that pip writes for the distribution that has it."""
        (self.place / f"{name}_engine.py").write_text(module)
        about = self.place / f"{name}_engine-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}-engine\nVersion: 1.0\n"
        )
        (about / "entry_points.txt").write_text(f"[cwl_userspace.engines]\n{name} = {entry}\n")

    def call(self, *words: str | Path, **environment: str) -> Ran:
        return self.home.call(*words, environment={"PYTHONPATH": str(self.place), **environment})

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.call("doctor", "--json", "--offline", "--quick").out
        )
        return found


@pytest.fixture
def installed(home: Home, tmp_path: Path) -> Installed:
    (tmp_path / "packages").mkdir()
    installed = Installed(home, tmp_path / "packages")
    text = DOCUMENT.read_text().partition("installs and runs it::\n\n")[2]
    code = "".join(
        line for line in text.splitlines(True) if line.startswith("    ") or line == "\n"
    )
    installed.add("sandboxed", textwrap.dedent(code), "sandboxed_engine:engine")
    return installed


def run(installed: Installed, *words: str | Path) -> Ran:
    return installed.call("--engine", "sandboxed", "run", *words)


def test_doctor_lists_it_with_its_promises_and_auto_does_not_take_it(installed: Installed) -> None:
    report = installed.report()
    (said,) = (engine for engine in report["engines"] if engine["name"] == "sandboxed")
    assert said["works"] and report["engine"] == "userns"
    assert said["promises"]["emulated root"] == "the image's own files cannot be changed"
    assert said["notes"] == ["sandboxed makes every root read-only"]
    done = installed.call("run", "busybox", "true", CWL_USERSPACE_PROOT="/bin/false")
    assert done.code == 0


def test_it_runs_what_it_is_given_and_keeps_what_it_promises(
    installed: Installed, tmp_path: Path
) -> None:
    tree = installed.home.tree("busybox")
    before, left = manifest(tree), installed.home.leftovers
    out, given = tmp_path / "out", tmp_path / "given"
    out.mkdir()
    given.write_text("given")
    script = "pwd; cat /in/file; echo made > made; (echo x > /in/file) 2>&- || echo kept; env"
    ran = run(
        *(installed, "-v", f"{out}:/work", "-v", f"{given}:/in/file:ro", "-w", "/work"),
        *("-e", "ASKED=for", "busybox", "sh", "-c", script),
    )
    shown = ran.text.splitlines()
    assert shown[:2] == ["/work", "givenkept"] and "ASKED=for" in shown
    assert not any("PYTHONPATH" in line or str(installed.home.place) in line for line in shown)
    assert ((out / "made").read_text(), given.read_text()) == ("made\n", "given")
    assert manifest(tree) == before and installed.home.leftovers == left


def test_exit_codes_are_right_and_nothing_survives(installed: Installed) -> None:
    assert run(installed, "busybox", "sh", "-c", "exit 7").code == 7
    assert run(installed, "busybox", "sh", "-c", "kill -TERM $$").code == 143
    assert run(installed, "busybox", "no-such").code == 127
    word = marker()
    assert run(installed, "busybox", "sh", "-c", f"sh -c 'sleep 1000; : {word}' &").code == 0
    assert all_gone(word)


def test_a_setting_chooses_it(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("engine: sandboxed\n")
    words = ("run", "--print-command", "busybox", "true")
    shown = installed.call(*words, CWL_USERSPACE_CONFIG=str(tmp_path / "config.yml"))
    assert "--unshare-all" in shown.text
    assert "--unshare-all" in installed.call(*words, CWL_USERSPACE_ENGINE="sandboxed").text


def test_what_it_does_not_promise_is_refused(installed: Installed) -> None:
    ran = run(installed, "-u", "root", "busybox", "true")
    assert ran.code == 125
    assert "sandboxed cannot promise emulated root: the image's own files" in ran.complaint


def test_an_unknown_name_is_refused_with_all_that_are_known(installed: Installed) -> None:
    ran = installed.call("--engine", "sandbox", "run", "busybox", "true")
    assert ran.code == 125 and "no engine 'sandbox'" in ran.complaint
    known = ran.complaint.partition("known engines: ")[2].strip().split(", ")
    assert {"auto", "userns", "proot", "fakechroot", "sandboxed"} <= set(known)


SILENT = """
class Silent:
    name = "silent"
    def unavailable(self): return None
    def promises(self): return {}
    def notes(self): return []
    def copies(self, spec): return False
    def launch(self, spec, private): raise AssertionError
def engine(settings, environ): return Silent()
"""


def test_silence_is_no_promise(installed: Installed) -> None:
    installed.add("silent", SILENT, "silent_engine:engine")
    (said,) = (engine for engine in installed.report()["engines"] if engine["name"] == "silent")
    assert set(said["promises"].values()) == {"the engine says nothing of it"}
    ran = installed.call("--engine", "silent", "run", "--network=none", "busybox", "true")
    assert ran.code == 125 and "cannot promise network off: the engine says noth" in ran.complaint


@pytest.mark.parametrize(
    ("module", "entry", "problem"),
    [
        ("import no_such_module", "broken_engine:engine", "No module named 'no_such_module'"),
        ("", "broken_engine:engine", "has no attribute 'engine'"),
        ("", "absent_module:engine", "No module named 'absent_module'"),
        ("def engine(settings, environ): raise ValueError", "broken_engine:engine", "ValueError"),
        ("def engine(settings, environ): return 1", "broken_engine:engine", "it has no 'name'"),
        ("def engine(): pass", "broken_engine:engine", "takes 0 positional arguments"),
    ],
)
def test_a_broken_one_is_one_sentence_that_names_its_package(
    installed: Installed, module: str, entry: str, problem: str
) -> None:
    installed.add("broken", module, entry)
    ran = installed.call("--engine", "broken", "run", "busybox", "true")
    assert ran.code == 125
    assert "the engine 'broken' of the package 'broken-engine' cannot be used" in ran.complaint
    assert problem in ran.complaint
    report = installed.report()
    (said,) = (engine for engine in report["engines"] if engine["name"] == "broken")
    assert not said["works"] and problem in said["reason"]
    assert installed.call("run", "busybox", "true").code == 0


def test_one_of_ours_cannot_be_replaced(installed: Installed) -> None:
    installed.add("proot", SILENT, "proot_engine:engine")
    names = [engine["name"] for engine in installed.report()["engines"]]
    assert names.count("proot") == 1
    ran = installed.call("--engine", "proot", "run", "busybox", "echo", "ours")
    assert ran.text == "ours\n"

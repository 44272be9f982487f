"""A run that was killed goes on, and does not do again what has passed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance import cell, records
from conformance.problem import Problem
from conformance.records import FAILED, PASSED, Record
from tests import suites
from tests.suites import Tiny

pytestmark = pytest.mark.once

NAMES = ["one", "two", "three", "four"]
_PATIENCE = 60

# Runs the cell in a process that can be killed.
_GO = """
import sys
from pathlib import Path
from conformance import cell
from conformance.sources import Source
from tests.suites import DOOR
folder = Path(sys.argv[1])
source = Source("v1.2", folder / "suite" / "conformance_tests.yaml")
wish = cell.Wish(folder / "images", only="all")
cell.run(cell.Cell(source, DOOR, "auto"), wish, folder / "output", lambda text: None)
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    tiny = Tiny(tmp_path, NAMES)
    monkeypatch.setenv(suites.HOME, str(tiny.home))
    return tiny


def run(tiny: Tiny, resume: bool = True) -> cell.Done:
    wish = tiny.wish._replace(resume=resume)
    return cell.run(tiny.cell, wish, tiny.output, lambda text: None)


def wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        # Nobody may be there to reap it.
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_a_killed_run_ends_its_tests_and_goes_on_with_the_rest(tiny: Tiny) -> None:
    tiny.tell("three", 'echo $$ > "$TINY_HOME/pid.new"; mv "$TINY_HOME/pid.new" "$TINY_HOME/pid"\n'
              "exec sleep 1000\n")  # fmt: skip
    words = [sys.executable, "-c", _GO, str(tiny.folder)]
    with subprocess.Popen(words, cwd=Path(__file__).parents[2]) as process:
        wait((tiny.home / "pid").exists)
        wait(lambda: len(list(records.read(tiny.output / "records.jsonl"))) == 2)
        os.kill(process.pid, signal.SIGKILL)
    pid = int((tiny.home / "pid").read_text())
    wait(lambda: gone(pid))
    assert tiny.called() == ["one", "two", "three"]
    tiny.tell("three", "")
    done = run(tiny)
    assert tiny.called() == ["three", "four"]
    assert [record.test for record in done.records] == NAMES
    assert done.result.passed == 4 and done.result.good


def test_what_has_failed_is_run_again_and_what_has_passed_is_not(tiny: Tiny) -> None:
    tiny.tell("two", "exit 1")
    done = run(tiny)
    assert [one["test"] for one in done.result.failed] == ["two"]
    tiny.called()
    tiny.tell("two", "")
    assert run(tiny).result.passed == 4
    assert tiny.called() == ["two"]
    run(tiny, resume=False)
    assert tiny.called() == NAMES


def test_a_changed_suite_is_run_again(tiny: Tiny) -> None:
    run(tiny)
    tiny.called()
    suites.tool(tiny.folder / "suite" / "tests", "four", "debian")
    run(tiny)
    assert tiny.called() == NAMES


def test_only_a_pass_with_the_same_versions_counts(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    for record in (
        Record("one", PASSED, "", 1.0, "", "new"),
        Record("two", PASSED, "", 1.0, "", "old"),
        Record("three", PASSED, "", 1.0, "", "new"),
        Record("three", FAILED, "bad", 1.0, "", "new"),
    ):
        records.append(path, record)
    assert list(records.passed(path, "new", NAMES)) == ["one"]


def test_a_line_that_was_cut_short_is_no_record_and_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    whole = Record("one", PASSED, "", 1.0, "")
    path.write_text(whole.line() + whole.line()[:20])
    records.append(path, whole._replace(test="two"))
    assert [record.test for record in records.read(path)] == ["one", "two"]


def test_two_runs_of_one_cell_are_refused(tiny: Tiny) -> None:
    tiny.tell("one", 'mkfifo "$TINY_HOME/fifo"; cat "$TINY_HOME/fifo"')
    words = [sys.executable, "-c", _GO, str(tiny.folder)]
    with subprocess.Popen(words, cwd=Path(__file__).parents[2]) as process:
        wait((tiny.home / "fifo").exists)
        with pytest.raises(Problem, match="in use by another run"):
            run(tiny)
        (tiny.home / "fifo").write_text("")
        assert process.wait(_PATIENCE) == 0


def test_a_cell_in_which_another_engine_was_seen_leaves_no_record_that_counts(tiny: Tiny) -> None:
    # The witness looks at all processes of this user: this one is in a user name space.
    with subprocess.Popen(["unshare", "-Urpf", "--kill-child", "sleep", "1000"]) as other:
        proot = tiny.cell._replace(engine="proot")
        try:
            done = cell.run(proot, tiny.wish, tiny.output, lambda text: None)
        finally:
            other.kill()
    assert done.complaint.endswith("processes were seen under userns, not proot")
    assert not (tiny.output / "records.jsonl").exists()

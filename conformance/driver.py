"""Runs tests by cwltest's own code, several at once, and writes a record a line as each ends.

A program of its own, since cwltest takes the runner's environment and the place of outputs from
the process. It ends with all runners that it started when its stdin does: its caller has gone.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from cwltest import UNSUPPORTED_FEATURE
from cwltest.utils import CWLTestConfig, load_optional_fsaccess_plugin, run_test_plain

from conformance.records import FAILED, PASSED, UNSUPPORTED, Record

# How cwltool tells of Docker's own exit codes: the container could not be run.
_NO_CONTAINER = re.compile(r"exited with status: 12[567]\b")


def judge(test: dict[str, Any], code: int, message: str, log: str) -> tuple[str, str]:
    """The outcome and why it is not PASSED, from cwltest's code (2.7) and the runner's stderr.

    cwltest calls a test that should fail passed however it failed, and says nothing of why when
    it did not.
    """
    if code == UNSUPPORTED_FEATURE:
        return UNSUPPORTED, "reported as unsupported"
    if code != 0:
        why = "should fail, but did not" if test.get("should_fail") and not message else message
        return FAILED, why or "failed"
    if test.get("should_fail") and _NO_CONTAINER.search(log):
        return FAILED, "should fail, but not because the container cannot be run"
    return PASSED, ""


def words_for(test: dict[str, Any], tagged: dict[str, list[str]]) -> list[str]:
    """What the runner is told besides because of the test's tags."""
    return [word for tag in test.get("tags") or () for word in tagged.get(tag, ())]


def run(test: dict[str, Any], number: int, command: list[str], timeout: int) -> Record:
    config = CWLTestConfig(
        entry=test["id"],
        entry_line=str(number),
        tool=command[0],
        args=command[1:],
        timeout=timeout,
    )
    result = run_test_plain(config, test, number)
    outcome, why = judge(test, result.return_code, result.message, result.error_output)
    log = "" if outcome == PASSED else result.error_output
    return Record(test["id"], outcome, why, round(result.duration, 3), log)


def _end_with_caller() -> None:
    # Not by sys.stdin, whose lock Python wants at its end.
    os.read(0, 1)
    # We are in a session of our own: these are us and the runners, which end their containers.
    os.killpg(0, signal.SIGTERM)


def main(plan: Path) -> int:
    """Does what the file says: tests, command, words for tests with tags, jobs, timeout."""
    threading.Thread(target=_end_with_caller, daemon=True).start()
    told = json.loads(plan.read_text(encoding="utf-8"))
    os.chdir(plan.parent)
    load_optional_fsaccess_plugin()
    with ThreadPoolExecutor(told["jobs"]) as pool:
        running = [
            pool.submit(
                run,
                test,
                number,
                [*told["command"], *words_for(test, told["tagged"])],
                told["timeout"],
            )
            for number, test in enumerate(told["tests"], 1)
        ]
        for done in as_completed(running):
            sys.stdout.write(done.result().line())
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

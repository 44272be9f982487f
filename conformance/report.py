"""Judges what cwltest did: every selected test must have run, and passed for the right reason."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

_TAIL = 15

# cwltest numbers the tests of its suite from 1.
_LOGGED = re.compile(r"^Test (\d+) (failed|timed out|interrupted)", re.MULTILINE)

# How cwltool tells of Docker's own exit codes: the container could not be run.
_NO_CONTAINER = re.compile(r"exited with status: 12[567]\b")

# XML has no escape characters, so only the rest of a colour is left.
_COLOUR = re.compile(r"\x1b?\[[0-9;]*m")


class Ran(NamedTuple):
    """What is left of a run of cwltest."""

    status: int
    junit: Path
    log: str


class Failure(NamedTuple):
    test: str
    why: str
    log: str = ""


class Verdict(NamedTuple):
    selected: int
    failures: list[Failure]

    @property
    def passed(self) -> int:
        return self.selected - len({failure.test for failure in self.failures})


def judge(ran: Ran, tests: Mapping[str, dict[str, Any]]) -> Verdict:
    """Combines cwltest's JUnit file, log and status, since none of them tells all.

    A test that should fail and does not has no failure in the JUnit file (cwltest 2.7); one that
    is not supported has no place in the log, nor in the status.
    """
    cases = {case.get("file", ""): case for case in _cases(ran.junit)}
    names = list(tests)
    logged = {names[int(number) - 1]: what for number, what in _LOGGED.findall(ran.log)}
    failures = []
    for name in names:
        case = cases.get(name)
        log = "" if case is None else case.findtext("system-err") or ""
        why = _complaint(case) or logged.get(name) or _vacuous(tests[name], log)
        if why:
            failures.append(Failure(name, why, log))
    if ran.status != 0 and not failures:
        failures.append(Failure("cwltest", f"ended with status {ran.status}", ran.log))
    return Verdict(len(tests), failures)


def publish(ran: Ran, verdict: Verdict, target: Path) -> None:
    """Writes the JUnit file with the failures that cwltest left out of it."""
    tree = ElementTree.parse(ran.junit)
    suite = next(tree.iter("testsuite"))
    cases = {case.get("file", ""): case for case in suite.iter("testcase")}
    for failure in verdict.failures:
        case = cases.get(failure.test)
        if case is None:
            case = ElementTree.SubElement(suite, "testcase", name=failure.test, file=failure.test)
        if case.find("failure") is None:
            ElementTree.SubElement(case, "failure", message=failure.why)
    failed = str(len(list(suite.iter("failure"))))
    for element in (tree.getroot(), suite):
        element.set("failures", failed)
    tree.write(target, encoding="utf-8", xml_declaration=True)


def describe(failure: Failure) -> str:
    tail = _COLOUR.sub("", failure.log).strip().splitlines()[-_TAIL:]
    return "\n".join([f"FAILED {failure.test}: {failure.why}", *(f"    {line}" for line in tail)])


def _cases(results: Path) -> list[ElementTree.Element]:
    return list(ElementTree.parse(results).getroot().iter("testcase"))


def _complaint(case: ElementTree.Element | None) -> str:
    if case is None:
        return "did not run"
    if case.find("skipped") is not None:
        return "reported as unsupported"
    for kind in ("failure", "error"):
        found = case.find(kind)
        if found is not None:
            return found.get("message") or (found.text or "").strip() or kind
    return ""


def _vacuous(test: dict[str, Any], log: str) -> str:
    """A test that should fail proves nothing when it did so for want of a container."""
    if test.get("should_fail") and _NO_CONTAINER.search(log):
        return "should fail, but not because the container cannot be run"
    return ""

"""Judges what cwltest did: every selected test must have run, and passed."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

_TAIL = 15


class Failure(NamedTuple):
    test: str
    why: str
    log: str


class Verdict(NamedTuple):
    selected: int
    failures: list[Failure]

    @property
    def passed(self) -> int:
        return self.selected - len(self.failures)


def judge(results: Path, selected: Collection[str]) -> Verdict:
    """Reads the JUnit file; a test that it does not tell of is a failure like any other."""
    cases = {case.get("file", ""): case for case in _cases(results)}
    found = (_failure(name, cases.get(name)) for name in selected)
    return Verdict(len(selected), [failure for failure in found if failure])


def describe(failure: Failure) -> str:
    tail = failure.log.strip().splitlines()[-_TAIL:]
    return "\n".join([f"FAILED {failure.test}: {failure.why}", *(f"    {line}" for line in tail)])


def _cases(results: Path) -> list[ElementTree.Element]:
    if not results.exists():
        return []
    return list(ElementTree.parse(results).getroot().iter("testcase"))


def _failure(name: str, case: ElementTree.Element | None) -> Failure | None:
    if case is None:
        return Failure(name, "did not run", "")
    log = case.findtext("system-err") or ""
    if case.find("skipped") is not None:
        return Failure(name, "reported as unsupported", log)
    broken = case.find("failure")
    if broken is None:
        broken = case.find("error")
    if broken is None:
        return None
    return Failure(name, broken.get("message") or broken.text or "failed", log)

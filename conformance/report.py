"""Tells on a terminal what became of a cell."""

from __future__ import annotations

import re

from conformance.cell import Done

_TAIL = 15
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def describe(done: Done) -> str:
    """A paragraph for each failure, then the line that sums up."""
    result = done.result
    logs = {record.test: record.log for record in done.records}
    lines = [
        _failure(one["test"], one["why"], "" if result.baseline else logs[one["test"]])
        for one in result.failed
    ]
    lines += [f"expected failure {one['test']}: {one['reason']}" for one in result.expected]
    lines += [
        f"FAILED {name}: passed, but is expected to fail; take it out of expected.yml"
        for name in result.unexpectedly_passed
    ]
    name = f"{result.suite} {result.door} {result.engine}"
    lines.append(f"{name}: {_summary(done)}")
    if done.complaint:
        lines.append(f"{name}: {done.complaint}")
    return "\n".join(lines)


def _summary(done: Done) -> str:
    result = done.result
    before = f" ({done.kept} before)" if done.kept else ""
    parts = [
        f"{result.passed} of {result.selected} passed in {result.elapsed} s{before}",
        f"{result.seconds_per_test:.2f} s a test",
        *(f"{test} (loopback stand-in)" for test in result.loopback),
        *(f"{test} (passes whatever the engine does)" for test in result.vacuous),
    ]
    seen = ", ".join(f"{count} under {engine}" for engine, count in result.seen.items())
    return f"{', '.join(parts)}; processes seen: {seen or 'none'}"


def _failure(test: str, why: str, log: str) -> str:
    tail = _COLOUR.sub("", log).strip().splitlines()[-_TAIL:]
    return "\n".join([f"FAILED {test}: {why}", *(f"    {line}" for line in tail)])

"""Writes results as JUnit XML: a suite for each cell, a case for each test."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from pathlib import Path

from conformance.records import PASSED, Record
from conformance.results import Result

# What XML 1.0 cannot hold: tools write colours, and worse.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(result: Result, records: Sequence[Record], path: Path) -> None:
    """The file of one cell; an expected failure is a skipped test with its reason."""
    _write([_suite(result, records)], path)


def combine(paths: Iterable[Path], target: Path) -> None:
    """One file of several, in their order."""
    _write([suite for path in paths for suite in ElementTree.parse(path).getroot()], target)


def _write(suites: Iterable[ElementTree.Element], path: Path) -> None:
    root = ElementTree.Element("testsuites")
    root.extend(suites)
    for count in ("tests", "failures", "skipped"):
        root.set(count, str(sum(int(one.get(count, "0")) for one in root)))
    ElementTree.indent(root, " ")
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _suite(result: Result, records: Sequence[Record]) -> ElementTree.Element:
    name = f"{result.suite}.{result.door}.{result.engine}"
    expected = {one["test"]: f"{one['reason']} ({one['link']})" for one in result.expected}
    suite = ElementTree.Element("testsuite", name=name, timestamp=result.date)
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in result.versions.items():
        ElementTree.SubElement(properties, "property", name=key, value=value)
    for record in records:
        case = ElementTree.SubElement(
            suite, "testcase", name=record.test, classname=name, time=f"{record.seconds:.3f}"
        )
        _say(case, record, expected.get(record.test, ""), record.test in result.unexpectedly_passed)
    suite.set("tests", str(len(records)))
    suite.set("failures", str(len(list(suite.iter("failure")))))
    suite.set("skipped", str(len(list(suite.iter("skipped")))))
    suite.set("time", f"{sum(record.seconds for record in records):.3f}")
    return suite


def _say(case: ElementTree.Element, record: Record, reason: str, surprising: bool) -> None:
    if surprising:
        ElementTree.SubElement(case, "failure", message="passed, but is expected to fail")
    elif record.outcome != PASSED:
        kind, message = ("skipped", reason) if reason else ("failure", record.why)
        ElementTree.SubElement(case, kind, message=_FORBIDDEN.sub("", message))
    if record.log:
        ElementTree.SubElement(case, "system-err").text = _FORBIDDEN.sub("", record.log)

"""What counts as passed, what as expected, and what JUnit's readers are told of it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from conformance import expected, junit, results
from conformance.driver import judge, words_for
from conformance.problem import Problem
from conformance.records import FAILED, PASSED, UNSUPPORTED, Record

pytestmark = pytest.mark.once

CELL = ("v1.1", "extension", "proot")
GOOD = Record("good", PASSED, "", 1.0, "")
BAD = Record("bad", FAILED, "wrong output\nmore", 2.0, "log \x1b[31mred\x1b[0m \x00")

ENTRY = """\
- test: [bad, worse]
  suite: v1.1
  door: [extension, user-space]
  reason: it is
     so
  link: https://example.org/1
"""


def listed(folder: Path, text: str) -> list[expected.Expected]:
    path = folder / "expected.yml"
    path.write_text(text)
    return expected.read(path)


def test_a_test_that_should_fail_must_fail_and_for_its_own_reason() -> None:
    test = {"should_fail": True}
    assert judge(test, 0, "", "bad output") == (PASSED, "")
    assert judge(test, 1, "", "") == (FAILED, "should fail, but did not")
    assert judge(test, 2, "Test timed out", "") == (FAILED, "Test timed out")
    assert judge(test, 0, "", "job exited with status: 125")[0] == FAILED
    assert judge({}, 0, "", "job exited with status: 125")[0] == PASSED
    assert judge({}, 33, "", "")[0] == UNSUPPORTED


def test_an_expected_failure_is_no_failure_in_the_cells_that_it_names(tmp_path: Path) -> None:
    entries = listed(tmp_path, ENTRY)
    result = results.summarize(CELL, [GOOD, BAD], {"bad"}, entries)
    assert result.good and not result.failed and result.passed == 1
    assert result.expected == [
        {"test": "bad", "reason": "it is so", "link": "https://example.org/1"}
    ]
    assert (result.containers_selected, result.containers_passed) == (1, 0)
    assert result.seconds_per_test == 1.5
    elsewhere = results.summarize(("v1.2", *CELL[1:]), [GOOD, BAD], set(), entries)
    assert elsewhere.failed == [{"test": "bad", "why": "wrong output"}] and not elsewhere.good


def test_an_expected_failure_that_passes_is_reported(tmp_path: Path) -> None:
    entries = listed(tmp_path, ENTRY)
    result = results.summarize(CELL, [BAD._replace(outcome=PASSED)], set(), entries)
    assert result.unexpectedly_passed == ["bad"] and not result.good


def test_a_baseline_is_not_judged() -> None:
    assert results.summarize(CELL, [BAD], set(), [], baseline=True).good


@pytest.mark.parametrize("line", ["reason", "link", "test"])
def test_an_entry_needs_test_reason_and_link(tmp_path: Path, line: str) -> None:
    entry = {"test": "bad", "reason": "so", "link": "https://example.org"}
    text = "".join(f"  {key}: {value}\n" for key, value in entry.items() if key != line)
    with pytest.raises(Problem, match=f"no {line}"):
        listed(tmp_path, f"- suite: v1.1\n{text}")


@pytest.mark.parametrize("wrong", ["door: gate", "engine: steam", "suite: v9", "why: because"])
def test_a_misspelt_entry_is_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(Problem, match="unknown"):
        listed(tmp_path, f"{ENTRY}- {wrong}\n  test: x\n  reason: y\n  link: https://z\n")


def test_the_entries_of_this_repository_are_well_formed() -> None:
    assert all(entry.reason and entry.link for entry in expected.read())


def test_junit_tells_failures_from_expected_ones_with_their_times(tmp_path: Path) -> None:
    for name, entries in (("plain", []), ("known", listed(tmp_path, ENTRY))):
        result = results.summarize(CELL, [GOOD, BAD], set(), entries)
        junit.write(result, [GOOD, BAD], tmp_path / f"{name}.xml")
    junit.combine([tmp_path / "plain.xml", tmp_path / "known.xml"], tmp_path / "junit.xml")
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("4", "1", "1")
    failure = root[0].find("testcase[@name='bad']/failure")
    assert failure is not None and "wrong output" in failure.get("message", "")
    skipped = root[1].find("testcase[@name='bad']/skipped")
    assert skipped is not None and "example.org/1" in skipped.get("message", "")
    assert [case.get("time") for case in root[0].iter("testcase")] == ["1.000", "2.000"]


def test_words_for_a_tag_are_given_to_its_tests_alone() -> None:
    tagged = {"inplace_update": ["--bypass-file-store"]}
    assert words_for({"tags": ["workflow", "inplace_update"]}, tagged) == ["--bypass-file-store"]
    assert words_for({"tags": ["workflow"]}, tagged) == words_for({}, tagged) == []

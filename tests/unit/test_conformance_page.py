"""The matrix: made from the stored results, and no better than they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import badges, page, results
from conformance.doors import DOORS
from conformance.results import Result

pytestmark = pytest.mark.once

WHOLE = Result(
    suite="v1.2",
    door="extension",
    engine="userns",
    selected=378,
    passed=378,
    containers_selected=58,
    containers_passed=58,
    seconds_per_test=1.25,
    failed=[],
    expected=[],
    unexpectedly_passed=[],
    only="all",
    date="2026-01-02",
    versions={"cwltool": "3"},
    loopback=["networkaccess"],
    seen={"userns": 9},
    load=1.0,
    cores=4,
)
PART = WHOLE._replace(engine="proot", only="containers", selected=58, passed=57)


def rows(*known: Result) -> dict[tuple[str, str], str]:
    """What stands in the column of v1.2, by door and engine."""
    lines = page.table(known).splitlines()
    column = lines[1].index("CWL v1.2")
    return {
        (words[0], words[-1] if "(" in line[:column] else words[1]): line[column:]
        for line in lines[3:-1]
        for words in [line[: lines[1].index("CWL v1.0")].split()]
    }


def test_what_was_not_run_is_shown_as_not_run_and_a_part_as_a_part() -> None:
    shown = rows(WHOLE, PART)
    assert shown["extension", "userns"] == "378 of 378, 1.2 s"
    assert shown["extension", "proot"] == "containers: 57 of 58, 1.2 s"
    assert shown["user-space", "userns"] == "not run"
    assert {door for door, _ in shown} == set(DOORS)


def test_seconds_from_a_busy_host_are_marked() -> None:
    assert rows(WHOLE._replace(load=9.0, cores=4))["extension", "userns"].endswith("1.2 s (busy)")


def test_the_whole_suite_goes_before_a_part_of_it() -> None:
    both = rows(WHOLE, WHOLE._replace(only="containers", selected=58, passed=58))
    assert both["extension", "userns"].startswith("378 of 378")


def test_the_page_names_date_versions_stand_ins_and_failures() -> None:
    failing = PART._replace(
        failed=[{"test": "sad", "why": "it `broke`"}],
        expected=[{"test": "known", "reason": "old", "link": "https://example.org"}],
        vacuous=["networkaccess_disabled"],
    )
    text = " ".join(page.page([WHOLE, failing]).split())
    assert "on 2026-01-02: 378 of 378 passed, of the container tests 58 of 58" in text
    assert "Versions: cwltool 3." in text and "Processes seen: 9 under userns." in text
    assert "Loopback: ``networkaccess``." in text
    assert "whatever the engine does: ``networkaccess_disabled``" in text
    assert "``sad`` failed: ``it 'broke'``; in v1.2 extension proot" in text
    assert "``known``: old (https://example.org)" in text


def test_a_badge_is_as_bad_as_the_worst_whole_run_and_green_only_if_all_is_well() -> None:
    assert "not run in full" in badges.of_suite("v1.2", [PART])
    assert "378 of 378, 1 way" in badges.of_suite("v1.2", [WHOLE, PART])
    worse = WHOLE._replace(engine="proot", passed=377)
    green, mixed = badges.of_suite("v1.2", [WHOLE]), badges.of_suite("v1.2", [WHOLE, worse])
    assert "377 of 378, 2 ways" in mixed
    assert badges._GREEN in green and badges._GREEN not in mixed
    assert "not run in full" in badges.of_suite("v1.2", [WHOLE._replace(baseline=True)])


def test_a_result_is_the_same_when_it_is_read_back(tmp_path: Path) -> None:
    results.write(WHOLE, tmp_path / "one.json")
    assert results.stored(tmp_path) == [WHOLE]


def test_page_readme_and_badges_are_what_the_stored_results_make() -> None:
    # If not: python -m conformance.page
    assert page.main(["--check"]) == 0

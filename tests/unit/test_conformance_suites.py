"""Suites as they lie about: in three layouts, here or at home, with ids or without."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from conformance import suite
from conformance.problem import Problem
from conformance.sources import find
from tests import suites

pytestmark = pytest.mark.once


def v10(folder: Path) -> Path:
    """A checkout as that of v1.0 is: its list and its documents a folder further down."""
    suites.tool(folder / "v1.0" / "v1.0", "plain")
    suites.tool(folder / "v1.0" / "v1.0", "boxed", "debian:stretch-slim")
    entries = [
        {"label": "plain_one", "tool": "v1.0/plain.cwl", "output": {}},
        {"id": "boxed_one", "tool": "v1.0/boxed.cwl", "output": {}},
        {"tool": "v1.0/plain.cwl", "output": {}},
    ]
    (folder / "v1.0" / "conformance_test_v1.0.yaml").write_text(json.dumps(entries))
    return folder


def v11(folder: Path) -> Path:
    """A checkout as those of v1.1 and v1.2 are."""
    return suites.suite(folder, ["one", "two"])


def git(folder: Path, *words: str) -> None:
    names = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "safe.directory=*"]
    subprocess.run(["git", *names, *words], cwd=folder, check=True, capture_output=True)


def test_a_suite_of_v10_is_found_from_its_repository_and_from_its_folder(tmp_path: Path) -> None:
    checkout = v10(tmp_path / "checkout")
    for given in (checkout, checkout / "v1.0"):
        source = find(f"v1.0={given}", tmp_path)
        assert source.tests == checkout / "v1.0" / "conformance_test_v1.0.yaml"
        assert source.version == "v1.0"


def test_tests_have_their_id_or_their_label_or_their_number(tmp_path: Path) -> None:
    source = find(f"v1.0={v10(tmp_path / 'checkout')}", tmp_path)
    tests = suite.load(source.tests, tmp_path / "copy")
    assert list(tests) == ["plain_one", "boxed_one", "test-3"]
    assert all(str(tmp_path / "copy") in test["tool"] for test in tests.values())


@pytest.mark.parametrize(
    "layout, containers", [(v10, ["boxed_one"]), (v11, ["one", "two"])], ids=["v1.0", "v1.1"]
)
def test_container_tests_are_chosen_in_every_layout(
    tmp_path: Path,
    layout: object,
    containers: list[str],
) -> None:
    assert callable(layout)
    source = find(f"v1.1={layout(tmp_path / 'checkout')}", tmp_path)
    tests = suite.load(source.tests, tmp_path / "copy")
    assert list(suite.choose(tests, "containers")) == containers
    assert suite.choose(tests, "all") == tests


def test_a_suite_is_fetched_from_its_home_once(tmp_path: Path) -> None:
    home = v11(tmp_path / "home")
    git(home, "init", "--quiet")
    git(home, "add", ".")
    git(home, "commit", "--quiet", "-m", "a suite")
    fetched = tmp_path / "fetched"
    first = find("v1.1", fetched, {"v1.1": f"file://{home}"})
    assert first.tests == fetched / "v1.1" / "conformance_tests.yaml"
    assert find("v1.1", fetched, {"v1.1": "file:///no/such/home"}) == first
    assert first.digest() == find(f"v1.1={home}", tmp_path).digest()


def test_a_home_that_does_not_answer_leaves_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"could not fetch the suite v1\.1") as caught:
        find("v1.1", tmp_path, {"v1.1": f"file://{tmp_path}/none"})
    assert "v1.1=FOLDER" in caught.value.hint
    assert not (tmp_path / "v1.1").exists()


@pytest.mark.parametrize("text", ["v7", "v7=/", "v1.2=/no/such/folder"])
def test_what_is_no_suite_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Problem):
        find(text, tmp_path)


def test_the_digest_changes_with_any_file_of_the_suite(tmp_path: Path) -> None:
    source = find(f"v1.1={v11(tmp_path)}", tmp_path)
    before = source.digest()
    (tmp_path / "tests" / "one.cwl").write_text("changed")
    assert source.digest() != before

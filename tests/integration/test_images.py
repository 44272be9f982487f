"""images, protect and rmi: what a store has, and what may go."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.containers import Home, Tar
from tests.images import oci_directory

pytestmark = pytest.mark.once


@pytest.fixture
def own(tmp_path: Path) -> Home:
    """A home with two images that share a tree, and one that shares a file with it by a link."""
    place = tmp_path / "own"
    place.mkdir()
    own = Home(place)
    large, small = Tar().file("f", b"x" * 60_000).bytes(), Tar().file("g", b"y" * 500).bytes()
    own.add("first:1", large, {"Env": ["A=1"]})
    own.add("second:1", large, {"Env": ["A=2"]})
    own.add("alone:1", small, {})
    return own


def listed(own: Home, *words: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in own.call("images", *words).text.splitlines()]


def test_the_table_is_in_the_order_of_names_with_ages_and_sizes(own: Home) -> None:
    header, *rows = own.call("images").text.splitlines()
    assert header.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "FETCHED", "SIZE"]
    assert [row.split()[0] for row in rows] == ["alone", "first", "second"]
    assert all(" ago " in row for row in rows)
    assert rows[0].endswith("500B") and rows[1].endswith("60kB")


def test_sizes_say_what_images_have_in_common_and_alone(own: Home) -> None:
    first, alone = own.tree("first:1"), own.tree("alone:1")
    os.link(alone / "g", alone / "same-file")
    rows = {row["Repository"]: row for row in listed(own, "-s", "--format", "json")}
    assert [rows["alone"][k] for k in ("Size", "SharedSize", "UniqueSize")] == [
        "500B",
        "0B",
        "500B",
    ]
    assert [rows["first"][k] for k in ("SharedSize", "UniqueSize")] == ["60kB", "0B"]
    os.link(first / "f", alone / "f")
    (row,) = listed(own, "--size", "--format", "json", "alone")
    assert [row[k] for k in ("SharedSize", "UniqueSize")] == ["60kB", "500B"]
    assert listed(own, "--format", "json")[0]["SharedSize"] == "N/A"


def test_a_template_or_a_filter_picks_what_a_script_wants(own: Home) -> None:
    form = ("--format", "{{.Repository}}:{{.Tag}}")
    assert own.call("images", *form, "--filter", "reference=fi*").text == "first:1\n"
    digests = [row["Digest"] for row in listed(own, "--format", "json")]
    assert len(set(digests)) == 3 and all(digest.startswith("sha256:") for digest in digests)
    assert digests[0] in own.call("images", "--digests").text
    assert own.call("images", "-q", "--filter", "dangling=true").text == ""
    for wrong in (["--filter", "size=1"], ["--format", "{{.No}}"]):
        assert own.call("images", *wrong).code == 125


def test_a_protected_image_stays_until_it_is_unprotected(own: Home, tmp_path: Path) -> None:
    assert own.call("protect", "first:1").text == "first:1\n"
    assert own.call("images").text.count(" yes\n") == 1
    assert listed(own, "--format", "json", "--filter", "protected=true")[0]["Tag"] == "1"
    for words in (["first:1"], ["-f", "first:1"], [listed(own, "--format", "json")[1]["ID"]]):
        ran = own.call("rmi", *words)
        assert ran.code == 1
        assert "first:1 is protected; first run cwl-userspace unprotect first:1" in ran.complaint
    again = Tar().file("new").bytes()
    image = oci_directory(tmp_path / "again", [again], name="first:1")
    assert own.call("load", "-i", image).code == 0
    assert own.call("rmi", "first:1").code == 1, "a name that is fetched again stays protected"
    assert own.call("unprotect", "first:1").text == "first:1\n"
    assert own.call("rmi", "first:1").code == 0
    assert own.call("protect", "no:1").code == 1


def test_rmi_says_what_it_freed(own: Home) -> None:
    assert own.call("rmi", "first:1").text.endswith("Freed: 0B\n")
    assert own.call("rmi", "second:1").text.endswith("Freed: 60kB\n")

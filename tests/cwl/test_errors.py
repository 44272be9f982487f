"""What is wrong in a DockerRequirement is said in one sentence, with its place in the document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cwltool.errors import UnsupportedRequirement, WorkflowException
from ruamel.yaml.comments import CommentedMap
from schema_salad.sourceline import cmap
from schema_salad.utils import yaml_no_ts

from cwl_userspace.cwl.images import Want, check, prepared
from cwl_userspace.cwl.places import place_of
from tests.containers import Home
from tests.cwl.documents import archive, cwltool, layer, tool, workflow

pytestmark = pytest.mark.once


def want(place: Path, text: str, required: bool = True) -> Want:
    """A DockerRequirement as cwltool reads it from a file."""
    document = place / "document.cwl"
    document.write_text(text)
    read = yaml_no_ts().load(text)
    found = cmap(read, fn=str(document))
    assert isinstance(found, CommentedMap)
    found.lc.filename = str(document)
    return Want(found, required, str(document))


@pytest.fixture
def refusal(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is said of a requirement, without the path of the document."""
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)

    def said(text: str) -> str:
        with pytest.raises(UnsupportedRequirement) as caught:
            found = want(tmp_path, text)
            check(found)
            prepared(found, True, False)[1]()
        message = str(caught.value)
        assert message.startswith(f"{tmp_path}/document.cwl:") and "\n" not in message
        return message.removeprefix(f"{tmp_path}/document.cwl:")

    return said


@pytest.mark.parametrize(
    "text, place, reason",
    [
        ("class: x\ndockerOutputDirectory: /x\n", "1:1:", "names no image; add one of"),
        ("class: x\ndockerPull: Not/Lower\n", "2:1:", "Not/Lower"),
        ("class: x\n\ndockerLoad: none.tar\n", "3:1:", "no file "),
        ("class: x\ndockerLoad: /\n", "2:1:", "is no regular file"),
        ("class: x\ndockerImport: ftp://x/y\n", "2:1:", "expected a path, or a file, http"),
        ("class: x\ndockerImport: file://host/y\n", "2:1:", "names no file of this host"),
        ("class: x\ndockerImport: http://127.0.0.1:9/y\n", "2:1:", "127.0.0.1:9 "),
        ("class: x\ndockerImageId: nobody-has-it\n", "2:1:", "add dockerPull, or have it first"),
        ("class: x\ndockerLoad: document.cwl\n", "2:1:", "document.cwl"),
    ],
)
def test_a_requirement_that_cannot_be_met_is_refused_with_its_line(
    refusal: Any, text: str, place: str, reason: str
) -> None:
    said = refusal(text)
    assert said.startswith(place) and reason in said and "; " in said, said


def test_of_several_images_in_an_archive_the_document_must_name_one(
    refusal: Any, tmp_path: Path
) -> None:
    images = {"a:1": layer("a"), "b:1": layer("b")}
    (tmp_path / "two.tar").write_bytes(archive(images))
    assert "holds 2 images: a:1, b:1; say with dockerImageId" in refusal("dockerLoad: two.tar\n")
    missing = refusal("dockerLoad: two.tar\ndockerImageId: c:1\n")
    assert "holds no image 'c:1'; it holds a:1, b:1" in missing


def test_an_image_of_the_store_serves_where_its_file_is_missing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    for text in ("dockerLoad: none.tar", "dockerImport: http://127.0.0.1:9/never"):
        asked = want(tmp_path, f"{text}\ndockerImageId: busybox\n")
        used, fetch = prepared(asked, True, False)
        fetch()
        assert used["dockerImageId"] == "busybox" and len(used) == 1
        assert len(asked.requirement) == 2  # the document's own is as it was


def test_a_file_that_is_not_beside_the_document_may_be_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside").mkdir()
    (tmp_path / "image.tar").touch()
    monkeypatch.chdir(tmp_path)
    document = f"{tmp_path}/beside/document.cwl"
    assert place_of("image.tar", document) == f"{tmp_path}/image.tar"
    (tmp_path / "beside" / "image.tar").touch()
    assert place_of("image.tar", document) == f"{tmp_path}/beside/image.tar"
    assert place_of("a b#1.tar", "http://x/y/z.cwl") == "http://x/y/a%20b%231.tar"


def test_a_hint_that_cannot_be_met_is_an_error_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(WorkflowException) as caught:
        check(want(tmp_path, "class: x\n", required=False))
    assert not isinstance(caught.value, UnsupportedRequirement)


def test_a_step_whose_image_cannot_be_had_ends_cwltool_with_33_and_its_line(
    home: Home, tmp_path: Path
) -> None:
    missing = tool("true", {"dockerLoad": "none.tar"})
    done = cwltool(home, tmp_path, workflow({"step": missing}))
    lines = (tmp_path / "document.cwl").read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if "none.tar" in text)
    assert done.code == 33, done.log
    assert f"document.cwl:{line}:" in done.words and "no file " in done.words
    assert "Traceback" not in done.log


def test_a_hinted_image_that_nobody_has_is_blamed_on_its_line(home: Home, tmp_path: Path) -> None:
    nobody = tool("true", {"dockerPull": "127.0.0.1:9/no/such:1"}, hinted=True)
    done = cwltool(home, tmp_path, nobody)
    lines = (tmp_path / "document.cwl").read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if "no/such" in text)
    assert done.code == 1, done.log
    assert f"document.cwl:{line}:" in done.words and "127.0.0.1:9/no/such:1 cannot be had" in (
        done.words
    )
    assert done.log.count("cwl-userspace: 127.0.0.1:9 ") == 1

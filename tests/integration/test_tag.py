"""``tag`` gives an image another name, and lists pick images by what they are."""

from __future__ import annotations

import json

import pytest

from tests.containers import Home

pytestmark = pytest.mark.once


def ids(home: Home, *words: str) -> list[str]:
    return home.call("images", "-q", *words).text.split()


def test_an_image_has_all_names_it_was_given(home: Home) -> None:
    assert home.call("tag", "busybox", "localhost:5000/me/box", "box:2").text == ""
    names = json.loads(home.call("inspect", "busybox").text)[0]["RepoTags"]
    assert {"localhost:5000/me/box:latest", "box:2", "busybox:latest"} <= set(names)
    assert home.call("run", "box:2", "echo", "ran").text == "ran\n"
    (identifier,) = ids(home, "box:2")
    home.call("tag", "scratch", "box:2")
    assert ids(home, "box:2") == ids(home, "scratch"), "a name goes over to the other image"
    home.call("tag", identifier, "box:2")
    assert ids(home, "box:2") == [identifier]
    for name in ("localhost:5000/me/box", "box:2"):
        assert home.call("rmi", name).code == 0
    assert ids(home, "busybox") == [identifier], "the image is there as long as it has a name"


def test_a_protected_name_is_not_given_away(home: Home) -> None:
    home.call("tag", "busybox", "kept:1")
    home.call("protect", "kept:1")
    refused = home.call("tag", "scratch", "kept:1")
    assert refused.code == 1 and "unprotect kept:1" in refused.complaint
    assert home.call("tag", "busybox", "kept:1").text == ""
    home.call("unprotect", "kept:1")
    home.call("rmi", "kept:1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no/such:1", "a"), "no image no/such:1"),
        (("busybox", "Bad Name"), "invalid image name 'Bad Name'"),
        (("busybox", f"a@sha256:{'0' * 64}"), "a digest says what an image is"),
        (("busybox",), "an image and a name"),
    ],
)
def test_a_name_that_cannot_be_given_is_said(home: Home, words: tuple[str, ...], said: str) -> None:
    ran = home.call("tag", *words)
    assert ran.code in (1, 125) and said in ran.complaint


def test_images_are_picked_by_label_age_and_name(home: Home) -> None:
    home.add("labelled", b"", {"Labels": {"made.by": "hand", "plain": ""}})
    try:
        (wanted,) = ids(home, "labelled")
        assert ids(home, "--filter", "label=made.by=hand", "--filter", "label=plain") == [wanted]
        assert ids(home, "--filter", "label=made.by=none") == []
        assert wanted in ids(home, "--filter", "since=busybox")
        assert wanted not in ids(home, "--filter", "before=labelled")
        assert ids(home, "--filter", "reference=label*") == [wanted]
        form = '{{.Id}}{{index .Config.Labels "made.by"}}'
        assert home.call("inspect", "-f", form, "labelled").text.endswith("hand\n")
        wrong = home.call("images", "--filter", "label")
        assert wrong.code == 125 and "is not known" in wrong.complaint
    finally:
        home.call("rmi", "labelled")


def test_every_list_can_be_json_and_a_template(home: Home) -> None:
    version = json.loads(home.call("version", "--format", "json").text)
    assert home.call("version", "-f", "{{.Client.Version}}").text == f"{version['Version']}\n"
    info = json.loads(home.call("info", "--format", "json").text)
    assert home.call("info", "-f", "{{.DefaultRuntime}}").text == f"{info['DefaultRuntime']}\n"
    assert json.loads(home.call("inspect", "--format", "json", "busybox", "scratch").text)[1]["Id"]
    assert home.call("stats", "--no-stream", "--format", "json").text == ""
    words = ("doctor", "--quick", "--offline", "--format")
    assert home.call(*words, "{{.engine}}{{range .registries}}!{{end}}").out.strip() != b""

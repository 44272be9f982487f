"""Archives in every form: all the same tree; links, names and lists that lie are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import tars
from tests.command import Command
from tests.images import (
    LAYER,
    NAME,
    Layout,
    compressed,
    config_json,
    docker_classic,
    docker_flat,
    docker_hybrid,
    oci_directory,
    oci_tar,
    sha256,
)
from tests.trees import Snapshot, file

LOWER = tars.layer(tars.file("a", b"a"), tars.file("gone"), tars.directory("d", 0o711))
UPPER = tars.layer(tars.whiteout("gone"), tars.file("d/b", b"b", 0o755), tars.hard_link("c", "a"))


FORMS: dict[str, Callable[[Path, list[bytes]], Path]] = {
    "OCI directory": oci_directory,
    "OCI tar": oci_tar,
    "OCI tar, gzip": lambda p, ls: compressed(p, oci_tar(p, ls).read_bytes()),
    "classic": lambda p, ls: _written(p, docker_classic(ls)),
    "classic, gzip": lambda p, ls: compressed(p, docker_classic(ls)),
    "classic, zstd": lambda p, ls: _written(p, tars.zstd(docker_classic(ls))),
    "classic, ./": lambda p, ls: _written(p, docker_classic(ls, "./")),
    "flat": lambda p, ls: _written(p, docker_flat(ls)),
    "hybrid": lambda p, ls: _written(p, docker_hybrid(ls)),
    "hybrid, gzip": lambda p, ls: compressed(p, docker_hybrid(ls)),
}


def _written(path: Path, archive: bytes) -> Path:
    path.write_bytes(archive)
    return path


def test_every_form_of_an_image_gives_the_same_tree(command: Command, tmp_path: Path) -> None:
    expected: Snapshot | None = None
    layers = [LOWER, UPPER, LOWER]
    for what, make in FORMS.items():
        fresh = Command(_made(tmp_path / what.replace("/", "_")))
        tree = fresh.accepts(make(fresh.top / "image", layers))
        expected = expected or tree
        assert tree == expected, what
        if what in ("classic", "OCI tar, gzip", "hybrid"):
            piped = Command(_made(fresh.top / "piped"))
            assert piped.accepts((fresh.top / "image").read_bytes()) == expected
    assert expected and expected["gone"] == file() and expected["d/b"].content == b"b"


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def test_an_archive_without_names_is_found_by_its_id(command: Command) -> None:
    result = command.load(docker_flat([LOWER], RepoTags=None))
    assert result.returncode == 0, result
    identifier = result.stdout.decode().split()[-1]
    assert result.stdout.decode() == f"Loaded image ID: {identifier}\n"
    assert command.tree(identifier)["a"] == file(b"a")
    assert command.tree(identifier.removeprefix("sha256:")[:12])["a"] == file(b"a")


@pytest.mark.parametrize("target", ["{canary}/f", "../../../../../../etc/passwd", "no/such", "."])
@pytest.mark.parametrize("make", [tars.symlink, tars.hard_link])
def test_a_layer_that_is_a_link_out_of_the_archive_is_refused(
    command: Command, tmp_path: Path, target: str, make: Callable[[str, str], bytes]
) -> None:
    target = target.format(canary=tmp_path / "canary")
    config = json.dumps(config_json([sha256(b"canary")])).encode()
    listed = [{"Config": "c.json", "RepoTags": [NAME], "Layers": ["id/layer.tar"]}]
    archive = tars.layer(
        make("id/layer.tar", target),
        tars.file("c.json", config),
        tars.file("manifest.json", json.dumps(listed).encode()),
    )
    assert "layer.tar" in command.assert_refused(command.load(archive))


@pytest.mark.parametrize(
    "entry",
    [
        {"Config": "../../../../etc/passwd"}, {"Config": "/etc/passwd"}, {"Config": None},
        {"Config": ["x"]}, {"Layers": ["../../etc/passwd"]}, {"Layers": [None]}, {"Layers": []},
        {"Layers": "abc"}, {"Layers": 7}, {"RepoTags": ["UPPER"]}, {"RepoTags": ["\ud800"]},
        {"RepoTags": ["../../x"]}, {"RepoTags": ["a\nb"]}, {"RepoTags": [None]}, {"RepoTags": 7},
        {"RepoTags": "abc d"},
    ],
    ids=str,
)  # fmt: skip
def test_an_archive_that_lists_nonsense_is_refused(command: Command, entry: dict[str, Any]) -> None:
    command.assert_refused(command.load(docker_flat([LOWER], **entry)))


def test_links_of_an_archive_that_go_in_circles_are_refused(command: Command) -> None:
    listed = [{"Config": "a", "RepoTags": [NAME], "Layers": []}]
    archive = tars.layer(
        tars.symlink("a", "b"),
        tars.symlink("b", "a"),
        tars.file("manifest.json", json.dumps(listed).encode()),
    )
    command.assert_refused(command.load(archive))


def test_a_foreign_layer_is_taken_from_the_image_itself(command: Command, tmp_path: Path) -> None:
    layout = Layout()
    manifest = layout.manifest([LOWER])
    manifest["layers"][0].update(
        mediaType=LAYER.replace("v1.tar", "nondistributable.v1.tar+gzip"),
        urls=["http://127.0.0.1:1/must-not-be-asked"],
    )
    layout.entry(manifest)
    assert command.accepts(layout.directory(tmp_path / "image"))["a"] == file(b"a")


@pytest.mark.parametrize("pack", [bytes, tars.gzipped, tars.zstd], ids=["plain", "gzip", "zstd"])
def test_a_root_file_system_is_imported(
    command: Command, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    exported = tars.layer(
        tars.directory("./"), tars.file("./bin/sh", b"#!", 0o755), tars.special("./dev/null", b"3"),
        tars.symlink("./lib", "usr/lib"),
    )  # fmt: skip
    result = command("import", _written(tmp_path / "rootfs.tar", pack(exported)), NAME)
    assert (result.returncode, result.stderr) == (0, b"")
    tree = command.tree()
    assert tree["bin/sh"] == file(b"#!", 0o755) and "dev/null" not in tree
    piped = command("import", "-", "test:2", stdin=pack(exported))
    assert piped.stdout == result.stdout


def test_an_import_does_not_spoil_the_layer_of_the_same_digest(
    command: Command, tmp_path: Path
) -> None:
    """A name such as ``.wh.x`` hides in a layer, but would not in a root file system."""
    tar = tars.layer(tars.file("d/.wh.x", b"data"), tars.file("y"))
    said = command.assert_refused(command("import", _written(tmp_path / "tar", tar), "imported:1"))
    assert ".wh.x" in said
    assert set(command.accepts(oci_directory(tmp_path / "image", [tar]))) == {".", "y"}

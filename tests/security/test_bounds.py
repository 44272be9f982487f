"""What an image may cost: space, names in memory, and what was left out is said and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cwl_userspace.errors import LayerError
from cwl_userspace.image import bound, tar
from cwl_userspace.image.layers import Tree
from tests import sparse_tars, tars
from tests.command import Command
from tests.images import NAME, oci_directory
from tests.security.conftest import Images

MIB = 1 << 20
COSTLY = {
    "zeros": [tars.layer(tars.file("zeros", bytes(2 * MIB)))],
    "layer upon layer": [tars.layer(tars.file("f", bytes(MIB // 2), uid=n)) for n in range(3)],
    "many files": [tars.layer(*(tars.file(f"f{n}") for n in range(300)))],
    "many directories": [tars.layer(*(tars.directory(f"d{n}") for n in range(300)))],
    "a hole": [tars.layer(sparse_tars.pax10("hole", 2 * MIB, []))],
    "nothing but comments": [tars.layer(*[tars.pax({"comment": "x" * 500_000})] * 3)],
    "what follows the end": [tars.END + bytes(2 * MIB)],
}


@pytest.mark.once
@pytest.mark.parametrize("what", COSTLY)
def test_an_image_may_only_unpack_to_so_much(command: Command, tmp_path: Path, what: str) -> None:
    image = oci_directory(tmp_path / "image", COSTLY[what])
    result = command("load", "-i", image, CWL_USERSPACE_UNPACKED_LIMIT="1m")
    said = command.assert_refused(result)
    assert "1 MiB" in said and "unpacked_limit" in said
    assert "nothing but" in what or command("load", "-i", image).returncode == 0


def test_a_hole_of_terabytes_is_refused_by_itself(images: Images) -> None:
    for size in (1 << 43, 257 << 30):
        assert "256 GiB" in images.refused(tars.layer(sparse_tars.gnu("f", size, [])))


def test_the_limit_is_a_setting(command: Command, tmp_path: Path) -> None:
    image = oci_directory(tmp_path / "image", COSTLY["zeros"])
    config = tmp_path / "config.yml"
    config.write_text("unpacked_limit: 1m\n")
    said = command.assert_refused(command("load", "-i", image, CWL_USERSPACE_CONFIG=str(config)))
    assert "1 MiB" in said
    config.write_text("unpacked_limit: some\n")
    result = command("images", CWL_USERSPACE_CONFIG=str(config))
    assert result.returncode == 125 and b"unpacked_limit is 'some'" in result.stderr


def test_names_that_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link makes a name of hundreds of steps short: 512 bytes would cost as many kilobytes."""
    monkeypatch.setattr(bound, "_MEMORY_LIMIT", 1 << 16)
    deep = "d/" * 500
    layer = tars.layer(
        tars.directory(deep),
        tars.symlink("l", deep),
        *(tars.directory(f"l/{number}") for number in range(200)),
    )
    tree = Tree(str(tmp_path))
    pieces = (layer[i : i + 4096] for i in range(0, len(layer), 4096))
    watched = bound.Bound(tree, 0).watched(pieces, "the layer")
    with pytest.raises(LayerError, match="more names than can be kept in mind"):
        tree.apply(tar.Bytes(watched, "the layer"))
    tree.close()


@pytest.mark.once
def test_a_flood_of_markers_ends(images: Images) -> None:
    """Each used to look at every file of its directory: with these, for a quarter of an hour."""
    lower = tars.layer(tars.file("d/lower"))
    files = [tars.file(f"d/{number}") for number in range(6000)]
    upper = tars.layer(*files, tars.opaque("d") * 25_000, tars.whiteout("d") * 5_000)
    assert len(images.tree(lower, upper)) == 6001


@pytest.mark.once
def test_a_path_with_too_many_steps_is_refused(images: Images) -> None:
    """Links of the greatest length, each back and forth all the way: 40 of them are hours."""
    members = [tars.directory("d/" * 900), tars.symlink("l0", "d")]
    back_and_forth = "d/" * 900 + "../" * 700
    for number in range(1, 40):
        members.append(tars.symlink(f"l{number}", f"{back_and_forth}l{number - 1}"))
    members += [tars.file(f"l39/{number}") for number in range(50)]
    assert "steps" in images.refused(tars.layer(*members))


LACKING = tars.layer(
    tars.special("null", b"3"), tars.special("disk", b"4"), tars.special("fifo", b"6"),
    tars.file("su", b"x", 0o4755), tars.directory("sg", 0o2755),
)  # fmt: skip


def test_what_was_left_out_is_said_once_and_shown(command: Command, tmp_path: Path) -> None:
    command.accepts(oci_directory(tmp_path / "image", [LACKING]))
    log = (tmp_path / "state" / "cwl-userspace" / "log").read_text()
    assert log.count("left out 3 device nodes and pipes") == 1
    assert log.count("bits of 2 files and directories") == 1
    data = json.loads(command("inspect", NAME).stdout)[0]["GraphDriver"]["Data"]
    assert (data["DroppedDevices"], data["DroppedSetuid"]) == ("3", "2")
    command.accepts(oci_directory(tmp_path / "whole", [tars.layer(tars.file("f"))], name="two:2"))
    assert (tmp_path / "state" / "cwl-userspace" / "log").read_text().count("left out") == 1


def test_what_a_pull_and_an_import_left_out_is_said(command: Command, tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    image = oci_directory(tmp_path / "image", [LACKING], name="docker.io/library/test:1")
    config.write_text(f'registries: {{docker.io: {{mirrors: ["oci:{image}"]}}}}\n')
    assert command("pull", NAME, CWL_USERSPACE_CONFIG=str(config)).returncode == 0
    assert command("import", "-", "three:3", stdin=LACKING + bytes(512)).returncode == 0
    log = (tmp_path / "state" / "cwl-userspace" / "log").read_text()
    assert log.count("left out 3 device nodes") == 2
    assert "test:1: left out" in log

"""Directories that stay open between entries, whatever becomes of the tree meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

from cwl_userspace.image import tar
from cwl_userspace.image.layers import Tree
from tests import tars

DEEP = "/".join("d" * 60)


def unpack(place: Path, *layers: list[bytes]) -> None:
    tree = Tree(str(place))
    for members in layers:
        tree.apply(tar.Bytes([tars.layer(*members)], "the layer"))
    tree.finish()


def text(path: Path) -> str:
    return path.read_text()


def test_a_directory_that_was_replaced_through_a_link_above_it_is_left(tmp_path: Path) -> None:
    members = [
        tars.directory("q"), tars.directory("p"), tars.symlink("p/up", ".."),
        tars.file("p/up/p/a", b"1"), tars.symlink("p/up/p", "q"), tars.file("p/b", b"2"),
    ]  # fmt: skip
    unpack(tmp_path, members)
    assert os.readlink(tmp_path / "p") == "q"
    assert os.listdir(tmp_path / "q") == ["b"]


def test_a_whiteout_between_two_entries_of_a_directory_is_seen(tmp_path: Path) -> None:
    lower = [tars.file("a/b/old"), tars.file("a/c")]
    upper = [tars.file("a/b/x", b"1"), tars.file(".wh.a"), tars.file("a/b/y", b"2")]
    unpack(tmp_path, lower, upper)
    assert sorted(os.listdir(tmp_path / "a")) == ["b"]
    assert sorted(os.listdir(tmp_path / "a/b")) == ["x", "y"]


def test_names_that_are_spelled_in_odd_ways_go_where_they_say(tmp_path: Path) -> None:
    members = [
        tars.file("a/b", b"1"), tars.file("./a//c", b"2"), tars.file("a/./d", b"3"),
        tars.file("a/../e", b"4"), tars.file("a/f", b"5"), tars.file("../a/g", b"6"),
        tars.directory("a/h/"), tars.file("a/h/../i", b"7"),
    ]  # fmt: skip
    unpack(tmp_path, members)
    assert sorted(os.listdir(tmp_path)) == ["a", "e"]
    assert sorted(os.listdir(tmp_path / "a")) == ["b", "c", "d", "f", "g", "h", "i"]


def test_no_depth_uses_up_the_descriptors(tmp_path: Path) -> None:
    members = [tars.pax({"path": f"{DEEP}/x"}), tars.file("x", b"1")]
    before = len(os.listdir("/proc/self/fd"))
    tree = Tree(str(tmp_path))
    tree.apply(tar.Bytes([tars.layer(*members)], "the layer"))
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    tree.finish()
    assert text(tmp_path / DEEP / "x") == "1"
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_in_the_way_of_a_directory_gives_way(tmp_path: Path) -> None:
    unpack(tmp_path, [tars.file("a/b"), tars.file("a/b/c", b"1"), tars.file("a/d/e", b"2")])
    assert (text(tmp_path / "a/b/c"), text(tmp_path / "a/d/e")) == ("1", "2")

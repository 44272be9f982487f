"""The record of a tree says what the tree holds, whatever was made and removed on the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zstandard

from cwl_userspace.errors import StoreError
from cwl_userspace.image import contents, tar
from cwl_userspace.image.contents import Journal, Node
from cwl_userspace.image.layers import Tree
from cwl_userspace.image.treetar import journal_of
from cwl_userspace.store.compare import Difference, closed, compare
from tests import tars

LOWER = tars.layer(
    tars.directory("d", 0o750),
    tars.file("d/gone", b"x"),
    tars.file("d/old", b"old"),
    tars.hard_link("d/other", "d/old"),
    tars.directory("whole"),
    tars.file("whole/a"),
    tars.directory("was-directory"),
    tars.file("was-directory/inner"),
    tars.file("was-file"),
    tars.symlink("link", "d"),
    tars.file("unannounced/b", b"b"),
    tars.file(b"odd \xff\nname", b"odd"),
    tars.directory("opaque"),
    tars.file("opaque/low", b"low"),
)
UPPER = tars.layer(
    tars.whiteout("d/gone"),
    tars.whiteout("whole"),
    tars.file("d/old", b"new", 0o4755),
    tars.file("was-directory", b"file"),
    tars.directory("was-file", 0o1777),
    tars.file("link/through", b"a link leads here"),
    tars.symlink("d/link", "../nowhere"),
    tars.hard_link("same-link", "d/link"),
    tars.opaque("opaque"),
    tars.file("opaque/high", b"high"),
)


def made(top: Path, *layers: bytes, before: bytes = b"", root: Path | None = None) -> bytes:
    """Make a tree of layers; its record."""
    journal = Journal(before)
    if root is None:
        top.mkdir()
    tree = Tree(str(top), journal)
    if root is not None:
        tree.adopt()
    for layer in layers:
        tree.apply(tar.Bytes([layer], "a test"))
    tree.finish()
    return journal.packed()


def differences(top: Path, packed: bytes) -> list[Difference]:
    return compare(str(top), contents.read(packed, "a record")).differences


def test_a_tree_is_what_its_record_says(tmp_path: Path) -> None:
    packed = made(tmp_path / "t", LOWER, UPPER)
    assert differences(tmp_path / "t", packed) == []
    root = contents.read(packed, "a record")
    assert sorted(root.children) == [
        b"d", b"link", b"odd \xff\nname", b"opaque", b"same-link", b"unannounced",
        b"was-directory", b"was-file",
    ]  # fmt: skip
    assert sorted(root.children[b"d"].children) == [b"link", b"old", b"other", b"through"]
    assert root.children[b"d"].children[b"old"] is not root.children[b"d"].children[b"other"]
    assert root.children[b"same-link"] is root.children[b"d"].children[b"link"]
    assert sorted(root.children[b"opaque"].children) == [b"high"]


def test_a_tree_that_goes_on_from_another_goes_on_with_its_record(tmp_path: Path) -> None:
    top = tmp_path / "t"
    lower = made(top, LOWER)
    both = made(top, UPPER, before=lower, root=top)
    assert differences(top, both) == []
    assert differences(top, lower) != []
    made(tmp_path / "at-once", LOWER, UPPER)
    assert differences(tmp_path / "at-once", both) == []


def test_a_record_made_of_a_finished_tree_says_the_same(tmp_path: Path) -> None:
    made(tmp_path / "t", LOWER, UPPER)
    assert differences(tmp_path / "t", journal_of(str(tmp_path / "t"))) == []


def changes() -> dict[str, tuple[str, Difference]]:
    """What can happen to a tree: a command of the shell, and what is said of it."""
    return {
        "a file is lost": ("rm d/through", Difference("missing", b"d/through", "")),
        "a file is added": ("touch new", Difference("additional", b"new", "")),
        "a bit has flipped": (
            "touch -r d/old stamp; printf N | dd of=d/old conv=notrunc; touch -r stamp d/old",
            Difference("changed", b"d/old", "its content"),
        ),
        "a file has grown": ("echo >> d/old", Difference("changed", b"d/old", "4 bytes, not 3")),
        "a program is setuid": (
            "chmod 4755 d/old",
            Difference("changed", b"d/old", "mode 4755, not 0755"),
        ),
        "a directory is open": ("chmod 777 d", Difference("changed", b"d", "mode 0777, not 0750")),
        "a link leads elsewhere": (
            "ln -sfn /etc link; touch -h -d @1600000000 link",
            Difference("changed", b"link", "it points to '/etc', not 'd'"),
        ),
        "a file is a directory": (
            "rm d/old; mkdir d/old",
            Difference("changed", b"d/old", "a directory, not a file"),
        ),
        "a device is there": (
            "rm d/old; mkfifo d/old",
            Difference("changed", b"d/old", "a device, pipe or socket, not a file"),
        ),
        "two names are two files": (
            "cp -P --preserve=all same-link x; mv x same-link",
            Difference("changed", b"d/link", "no longer the same file as its other names"),
        ),
        "a whole directory is lost": ("rm -r opaque", Difference("missing", b"opaque/high", "")),
        "a whole directory is added": (
            "mkdir -p extra/deep", Difference("additional", b"extra/deep", "")
        ),
        "a time is another": (
            "touch -d @5 opaque/high",
            Difference("changed", b"opaque/high", "its time is 5, not 1600000000"),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("what", changes())
def test_it_is_noticed_that(what: str, tmp_path: Path) -> None:
    command, expected = changes()[what]
    packed = made(tmp_path / "t", LOWER, UPPER)
    assert os.system(f"cd '{tmp_path}/t' && {{ {command}; }} 2> /dev/null") == 0
    assert expected in differences(tmp_path / "t", packed)


def test_what_is_damaged_or_unknown_is_no_record() -> None:
    empty = Journal()
    empty.layer()
    packed = empty.packed()
    other = zstandard.compress(b"V 2\0")
    nowhere = zstandard.compress(b"V 1\0F 644 0 0 0 no/where\0")
    cut = zstandard.compress(b"V 1\0D 755 0")
    for bad in (packed[:-5], b"", b"not compressed", other, nowhere, cut, packed[:-1] + b"\xff"):
        with pytest.raises(StoreError, match="a record is damaged"):
            contents.read(bad, "a record")
    assert contents.read(packed, "a record").children == {}


def test_without_a_look_at_contents_they_are_not_compared(tmp_path: Path) -> None:
    packed = made(tmp_path / "t", LOWER)
    (tmp_path / "t/d/old").write_bytes(b"abc")
    os.utime(tmp_path / "t/d/old", (1_600_000_000, 1_600_000_000))
    root = contents.read(packed, "a record")
    assert compare(str(tmp_path / "t"), root, content=False).differences == []
    assert len(compare(str(tmp_path / "t"), root).differences) == 1


@pytest.mark.parametrize(("mode", "is_closed"), [(0o200, True), (0o400, False)])
def test_a_record_says_whether_a_mode_closes_anything(mode: int, is_closed: bool) -> None:
    root = Node(b"D", 0o755, 0)
    root.children[b"x"] = Node(b"F", mode, 0)
    assert closed(root) is is_closed


def test_a_tree_has_no_time_and_no_mode_of_its_making(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        made(tmp_path / "t", tars.layer(tars.file("a/b/c")))
    finally:
        os.umask(before)
    for name in ("", "a", "a/b"):
        found = (tmp_path / "t" / name).stat()
        assert (found.st_mode & 0o7777, found.st_mtime) == (0o755, 0)

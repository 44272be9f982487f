"""Names inside a root: links are resolved there, and whole trees are removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cwl_userspace.errors import LayerError
from cwl_userspace.image.confine import Missing, Root, remove, remove_tree, split


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        (b"", ()), (b"/", ()), (b".", ()), (b"..", ()), (b"../../a", (b"a",)),
        (b"/a//b/./c/", (b"a", b"b", b"c")), (b"a/../../b", (b"b",)), (b"a/...", (b"a", b"...")),
    ],
)  # fmt: skip
def test_a_path_is_cleaned_as_text(path: bytes, parts: tuple[bytes, ...]) -> None:
    assert split(path) == parts


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "root"
    (top / "usr" / "lib").mkdir(parents=True)
    (tmp_path / "usr" / "outside").mkdir(parents=True)
    (top / "file").touch()
    for name, target in {
        "lib": "usr/lib", "abs": "/usr/lib", "up": "../../../usr", "usr/back": "../lib",
        "two": "abs/..", "loop": "loop", "ping": "pong", "pong": "ping", "dangling": "no/such",
        "host": "/proc/self/root/usr", "root": "/", "dot": ".",
    }.items():  # fmt: skip
        (top / name).symlink_to(target)
    return top


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (b"lib", b"usr/lib"), (b"abs", b"usr/lib"), (b"up/lib", b"usr/lib"), (b"two", b"usr"),
        (b"usr/back", b"usr/lib"), (b"root/root/dot/usr", b"usr"), (b"", b""), (b"up/..", b""),
    ],
)  # fmt: skip
def test_links_are_resolved_as_if_the_tree_were_the_root(
    tree: Path, path: bytes, place: bytes
) -> None:
    root = Root(str(tree))
    walked = root.open_directory(path.split(b"/") if path else (), None)
    assert b"/".join(walked.parts) == place
    assert os.fstat(walked.fd).st_ino == os.stat(os.path.join(os.fsencode(tree), place)).st_ino
    walked.close()
    root.close()


@pytest.mark.parametrize(
    "path", ["up/outside", "host", "dangling", "file", "file/x", "none", "lib/none", "dangling/x"]
)
def test_what_is_no_directory_inside_is_missing(tree: Path, path: str) -> None:
    root = Root(str(tree))
    with pytest.raises(Missing):
        root.open_directory(path.encode().split(b"/"), None)
    root.close()


@pytest.mark.parametrize("path", [b"loop", b"ping"])
def test_a_loop_of_links_is_an_error(tree: Path, path: bytes) -> None:
    root = Root(str(tree))
    with pytest.raises(LayerError, match="too many symbolic links"):
        root.open_directory([path], None)
    root.close()


def test_no_descriptor_is_lost_on_the_way(tree: Path) -> None:
    before = os.listdir("/proc/self/fd")
    root = Root(str(tree))
    for path in (b"two", b"ping", b"none", b"up/lib", b"host/x"):
        try:
            root.open_directory(path.split(b"/"), None).close()
        except (Missing, LayerError):
            pass
    root.close()
    assert os.listdir("/proc/self/fd") == before


def test_a_tree_is_removed_whatever_its_modes(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o555)
    (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    (tmp_path / "tree" / "a" / "b" / "f").touch(0o000)
    (tmp_path / "tree" / "a" / "l").symlink_to(outside)
    os.link(tmp_path / "tree" / "a" / "b" / "f", tmp_path / "linked")
    os.mkfifo(tmp_path / "tree" / "fifo")
    for place in ("a/b", "a", ""):
        (tmp_path / "tree" / place).chmod(0)
    remove_tree(str(tmp_path / "tree"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["linked", "outside"]
    assert outside.stat().st_mode & 0o777 == 0o555
    remove_tree(str(tmp_path / "tree"))
    remove_tree(str(tmp_path / "none" / "tree"))


def test_a_tree_is_removed_however_deep(tmp_path: Path) -> None:
    """3000 levels: more than frames of Python, more than open files, longer than a path can be."""
    fd = os.open(tmp_path, os.O_RDONLY)
    for level in range(3000):
        os.mkdir("d", 0o700 if level % 400 else 0o300, dir_fd=fd)
        if level % 100 == 0:
            os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
        deeper = os.open("d", os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    remove_tree(str(tmp_path / "d"))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_removing_says_what_it_was(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "f").touch()
    (tmp_path / "l").symlink_to("d")
    fd = os.open(tmp_path, os.O_RDONLY)
    assert [remove(name, fd) for name in (b"l", b"f", b"none", b"d", "d")] == [
        False, False, False, True, False,
    ]  # fmt: skip
    os.close(fd)
    assert list(tmp_path.iterdir()) == []

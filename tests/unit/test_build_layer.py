"""What has changed in a tree becomes a layer that makes the same changes elsewhere."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from cwl_userspace.build.layer import apply, record
from cwl_userspace.build.problem import Problem
from cwl_userspace.build.snapshot import Snapshot, changed, removed, snapshot
from cwl_userspace.digest import Digest
from tests.building import facts


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal trees."""
    one = tmp_path / "one"
    (one / "d/inner").mkdir(parents=True)
    (one / "dev").mkdir()
    for name in ("a", "b", "d/x", "d/inner/y", "dev/null"):
        (one / name).write_text(name)
    (one / "link").symlink_to("a")
    (one / "closed").mkdir()
    (one / "closed/z").write_text("z")
    (one / "closed").chmod(0o500)
    other = tmp_path / "other"
    shutil.copytree(one, other, symlinks=True)
    return one, other


Change = Callable[[Path], object]


def difference(tree: Path, change: Change) -> tuple[list[bytes], list[bytes]]:
    before = snapshot(str(tree))
    change(tree)
    after = Snapshot(str(tree))
    after.take()
    after.close()
    return removed(before, after), changed(before, after)


def rewritten_in_place(tree: Path) -> None:
    """The same size, and the times set back as far as a program can."""
    seen = (tree / "a").stat()
    (tree / "a").write_text("A")
    os.utime(tree / "a", ns=(seen.st_atime_ns, seen.st_mtime_ns))


def replaced_by_a_directory(tree: Path) -> None:
    (tree / "a").unlink()
    (tree / "a").mkdir()
    (tree / "a/new").write_text("x")


def replaced_by_a_link(tree: Path) -> None:
    shutil.rmtree(tree / "d")
    (tree / "d").symlink_to("closed")


def made_anew(tree: Path) -> None:
    shutil.rmtree(tree / "d")
    (tree / "d").mkdir()
    (tree / "d/new").write_text("x")


def opened_and_closed(tree: Path) -> None:
    (tree / "closed").chmod(0o700)
    (tree / "closed/z").unlink()
    (tree / "closed/new").write_text("x")
    (tree / "closed").chmod(0o300)


CHANGES: dict[Change, tuple[list[bytes], list[bytes]]] = {
    lambda tree: None: ([], []),
    lambda tree: (tree / "a").read_text(): ([], []),
    lambda tree: (tree / "dev/null").unlink(): ([], []),
    lambda tree: (tree / "a").unlink(): ([b"a"], [b""]),
    lambda tree: (tree / "a").chmod(0o4711): ([], [b"a"]),
    lambda tree: (tree / "new").write_text("x"): ([], [b"", b"new"]),
    lambda tree: os.link(tree / "a", tree / "new"): ([], [b"", b"a", b"new"]),
    lambda tree: shutil.rmtree(tree / "d"): ([b"d"], [b""]),
    rewritten_in_place: ([], [b"a"]),
    replaced_by_a_directory: ([], [b"", b"a", b"a/new"]),
    replaced_by_a_link: ([], [b"", b"d"]),
    made_anew: ([b"d/inner", b"d/x"], [b"", b"d", b"d/new"]),
    opened_and_closed: ([b"closed/z"], [b"closed", b"closed/new"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_found_and_nothing_else(trees: tuple[Path, Path], change: Change) -> None:
    assert difference(trees[0], change) == CHANGES[change]


@pytest.mark.parametrize("change", CHANGES)
def test_a_layer_makes_the_same_changes_in_another_tree(
    trees: tuple[Path, Path], tmp_path: Path, change: Change
) -> None:
    one, other = trees
    before = snapshot(str(one))
    change(one)
    after = Snapshot(str(one))
    after.take()
    digest = record(before, after, str(tmp_path / "layer"))
    after.close()
    assert (digest is None) == (CHANGES[change] == ([], []))
    if digest is not None:
        apply(str(other), [(digest, str(tmp_path / "layer"))])
    shutil.rmtree(one / "dev")
    shutil.rmtree(other / "dev")
    assert readable(other, times=True) == readable(one, times=True)


def readable(tree: Path, times: bool) -> dict[str, tuple[object, ...]]:
    """What is in a tree, and the mode that its closed directory had."""
    closed = tree / "closed"
    mode = closed.stat().st_mode
    closed.chmod(0o700)
    found = facts(tree, times)
    closed.chmod(mode & 0o7777)
    return {**found, "closed": (mode,)}


def test_what_no_layer_can_hold_is_taken_out(trees: tuple[Path, Path], tmp_path: Path) -> None:
    one, _ = trees
    before = snapshot(str(one))
    os.mkfifo(one / "d/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(one)  # the name of a socket must be short
        server.bind("socket")
        os.chdir(here)
    after = Snapshot(str(one))
    after.take()
    record(before, after, str(tmp_path / "layer"))
    after.close()
    assert not (one / "d/pipe").exists() and not (one / "socket").exists()


def test_a_name_that_means_something_else_in_a_layer_is_refused(
    trees: tuple[Path, Path], tmp_path: Path
) -> None:
    before = snapshot(str(trees[0]))
    (trees[0] / ".wh.a").write_text("")
    after = Snapshot(str(trees[0]))
    after.take()
    with pytest.raises(Problem, match="cannot be part of an image"):
        record(before, after, str(tmp_path / "layer"))


def test_the_same_changes_give_the_same_layer(trees: tuple[Path, Path], tmp_path: Path) -> None:
    digests: list[Digest | None] = []
    for tree in trees:
        before = snapshot(str(tree))
        for name in ("new", "d/new", "d/inner/new"):
            (tree / name).write_text(name)
            os.utime(tree / name, (1, 1))
            os.utime((tree / name).parent, (2, 2))
        after = Snapshot(str(tree))
        after.take()
        digests.append(record(before, after, str(tmp_path / f"layer-{len(digests)}")))
    assert digests[0] == digests[1]

"""A tree under construction: what it refuses and in which words, who may look, what is counted."""

from __future__ import annotations

import errno
import resource
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cwl_userspace.errors import LayerError
from cwl_userspace.image import tar
from cwl_userspace.image.contents import Journal, read
from cwl_userspace.image.layers import Tree
from tests import sparse_tars, tars
from tests.unit.forked import in_child


def begun(top: Path, *layers: bytes, journal: Journal | None = None, size: int = 1 << 16) -> Tree:
    """A tree that layers were applied to, in pieces of a size, and that is not finished."""
    tree = Tree(str(top), journal)
    try:
        for layer in layers:
            pieces = (layer[i : i + size] for i in range(0, len(layer), size))
            tree.apply(tar.Bytes(pieces, "the layer"))
    except BaseException:
        tree.close()
        raise
    return tree


DAMAGED, HOSTILE = "the archive is damaged", "the image is hostile"
EARLIER = "expected a hard link to an earlier file of the image"
REFUSED = {
    "a root that is a link": (
        tars.symlink("./", "x"),
        f"the layer replaces the root of the tree; {HOSTILE}",
    ),
    "a name that no file system takes": (
        tars.file("n" * 300),
        f"the layer: the entry {b'n' * 300!r:.100} cannot be made: File name too long; {DAMAGED}",
    ),
    "a link to nowhere": (tars.symlink("l", ""), f"the link b'l' is empty; {DAMAGED}"),
    "a hard link to nothing": (
        tars.hard_link("h", "none"),
        f"the layer links b'h' to b'none', which is no file; {EARLIER}",
    ),
    "a hard link to a directory": (
        tars.directory("d") + tars.hard_link("h", "d"),
        f"the layer links b'h' to b'd', which is no file; {EARLIER}",
    ),
    **{
        f"a marker of {named!r}": (
            tars.whiteout(named),
            f"the layer has the whiteout {b'.wh.' + named.encode()!r}, which names nothing;"
            f" {HOSTILE}",
        )
        for named in ("", ".", "..")
    },
}


@pytest.mark.once
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_is_named(tmp_path: Path, what: str) -> None:
    member, words = REFUSED[what]
    with pytest.raises(LayerError) as refused:
        begun(tmp_path, tars.layer(member))
    assert str(refused.value) == words


@pytest.mark.once
def test_a_marker_is_refused_by_name_where_a_tar_is_no_layer(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    with pytest.raises(LayerError) as refused:
        tree.apply(tar.Bytes([tars.layer(tars.whiteout("a"))], "the tar"), whiteouts=False)
    tree.close()
    assert str(refused.value) == (
        "the tar holds b'.wh.a', which only a layer of an image has a use for;"
        " make the tar again without it (tar --exclude='.wh.*')"
    )


@pytest.mark.once
def test_a_directory_is_as_deep_as_a_path_can_be_and_no_deeper(tmp_path: Path) -> None:
    """The first half is reached through a link: no name in the archive is too long by itself."""
    half = ("d" * 199 + "/") * 10
    rest = "l/" + ("e" * 199 + "/") * 9
    longest = tar.PATH_LIMIT - len(half) - len(rest[2:]) - 1
    start = tars.directory(half) + tars.symlink("l", half)
    begun(tmp_path, tars.layer(start, tars.directory(rest + "f" * longest))).finish()
    with pytest.raises(LayerError) as refused:
        begun(tmp_path / "l", tars.layer(start, tars.directory(rest + "f" * (longest + 1))))
    shown = repr(half.encode())[:80]
    assert str(refused.value) == f"the directory {shown}... is too deep for any path; {HOSTILE}"
    shutil.rmtree(tmp_path / half[:199])


@pytest.mark.once
def test_nobody_else_looks_into_a_directory_before_the_tree_is_finished(tmp_path: Path) -> None:
    members = (
        tars.file("announced by nobody/f"), tars.directory("d", 0o777),
        tars.file("was a file"), tars.directory("was a file", 0o777),
    )  # fmt: skip
    tree = begun(tmp_path, tars.layer(*members))
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o700}
    tree.finish()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"announced by nobody": 0o755, "d": 0o777, "was a file": 0o777}


@pytest.mark.once
def test_a_directory_for_a_device_that_is_left_out_is_of_the_layer_that_asked(
    tmp_path: Path,
) -> None:
    lower = tars.layer(tars.file("f"))
    upper = tars.layer(tars.special("d/null", b"3"), tars.whiteout("d"))
    begun(tmp_path, lower, upper).finish()
    assert list((tmp_path / "d").iterdir()) == []


@pytest.mark.once
def test_a_sticky_bit_is_no_login_of_somebody_else(tmp_path: Path) -> None:
    tree = begun(
        tmp_path, tars.layer(tars.file("sticky", mode=0o1644), tars.directory("d", 0o1777))
    )
    tree.finish()
    assert tree.dropped_setuid == 0


@pytest.mark.once
def test_a_file_is_recorded_alike_in_whatever_pieces_it_comes(tmp_path: Path) -> None:
    def recorded(size: int) -> tuple[int, int]:
        journal = Journal()
        top = tmp_path / str(size)
        top.mkdir()
        begun(
            top, tars.layer(tars.file("f", b"content" * 900)), journal=journal, size=size
        ).finish()
        node = read(journal.packed(), "the record").children[b"f"]
        return node.size, node.crc

    assert recorded(1 << 16) == recorded(700)


@pytest.mark.once
def test_a_disk_that_ends_within_a_file_is_no_fault_of_the_layer(tmp_path: Path) -> None:
    """One that takes a part of a piece, as a full one does: the rest is tried, and fails."""

    def limited() -> int | None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
        with pytest.raises(OSError) as failed:
            begun(tmp_path, tars.layer(tars.file("f", bytes(2000))))
        return failed.value.errno

    assert in_child(limited) == errno.EFBIG
    assert (tmp_path / "f").stat().st_size == 512


@pytest.mark.once
def test_devices_are_counted_one_by_one_and_holes_of_all_files(tmp_path: Path) -> None:
    sparse = sparse_tars.FORMATS["1.0"]
    holes = [sparse(name, 10_000, [(0, b"x" * 512)]) for name in ("a", "b")]
    devices = [tars.special("null", b"3"), tars.special("disk", b"4")]
    tree = begun(tmp_path, tars.layer(*holes, *devices))
    tree.finish()
    assert (tree.dropped_devices, tree.holes) == (2, 2 * (10_000 - 512))


@pytest.mark.once
def test_what_aufs_kept_for_itself_is_left_out(tmp_path: Path) -> None:
    members = [
        tars.file(name)
        for name in (
            ".wh..wh.plnk/1.2",
            "d/.wh..wh.orph/deep/f",
            "d/x.wh..wh.y/f",
            "d/.wh..wh.aufs",
        )
    ]
    begun(tmp_path, tars.layer(*members)).finish()
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert found == {"d", "d/x.wh..wh.y", "d/x.wh..wh.y/f"}


@pytest.mark.once
def test_a_directory_that_went_takes_all_that_is_noted_of_it_along(tmp_path: Path) -> None:
    lower = tars.layer(tars.directory("a/b/c/d"))
    begun(tmp_path, lower, tars.layer(tars.whiteout("a/b"))).finish()
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.once
@pytest.mark.parametrize("name", ["d/.", "d/e/..", "d//"])
def test_a_directory_may_be_named_from_within(tmp_path: Path, name: str) -> None:
    layer = tars.layer(tars.file("d/f"), tars.file("d/e/f"), tars.directory(name, 0o700))
    begun(tmp_path, layer).finish()
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700


@pytest.mark.once
@pytest.mark.parametrize("make", [tars.file, tars.directory])
def test_every_name_that_is_remembered_weighs(tmp_path: Path, make: Callable[[str], bytes]) -> None:
    tree = begun(tmp_path, tars.layer(tars.directory("d")))
    before = tree.remembered
    upper = tars.layer(*(make(f"d/{number}") for number in range(100)))
    tree.apply(tar.Bytes([upper], "the layer"))
    tree.finish()
    assert tree.remembered - before >= 100 * 16

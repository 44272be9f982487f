"""Applying layers: against GNU tar, against a model of whiteouts, and against random damage."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwl_userspace.errors import LayerError
from cwl_userspace.image import tar
from cwl_userspace.image.confine import remove_tree
from cwl_userspace.image.layers import Tree
from tests import tars
from tests.fuzzing import examples
from tests.trees import Snapshot, snapshot


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def applied(*layers: bytes, size: int = 1 << 16) -> Snapshot:
    """The tree of some layers; every bit of it is gone again afterwards."""
    with tempfile.TemporaryDirectory() as top:
        tree = Tree(top)
        try:
            for layer in layers:
                tree.apply(tar.Bytes(chunks(layer, size), "the layer"))
            tree.finish()
            return snapshot(Path(top))
        finally:
            _open_up(top)


def _open_up(top: str) -> None:
    """Have the standard library able to remove it."""
    for directory, names, _ in os.walk(top):
        os.chmod(directory, 0o700)
        for name in names:
            place = os.path.join(directory, name)
            if not os.path.islink(place):
                os.chmod(place, 0o700)


# One layer of unlike names, which every tar program makes the same of.

STEP = st.one_of(
    st.sampled_from(["a", "b", "usr", ".hidden", "ünï", "with space", "x" * 120]),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
    .map(lambda text: text[:40])
    .filter(lambda text: text not in (".", "..") and not text.startswith(".wh.")),
)
PATH = st.lists(STEP, min_size=1, max_size=4).map("/".join)
MODE = st.integers(0, 0o777)


@st.composite
def single_layers(draw: st.DrawFn) -> bytes:
    members, files, taken = [], list[str](), set[str]()
    leaves = set[str]()
    for path in draw(st.lists(PATH, max_size=12)):
        parents = {path[:i] for i in range(len(path)) if path[i] == "/"}
        if path in taken or parents & leaves:
            continue
        kind = draw(st.sampled_from(["file", "file", "directory", "link", "hard link"]))
        taken |= parents | {path}
        lead = draw(st.sampled_from(["", "./"]))
        if kind == "directory":
            members.append(tars.directory(f"{lead}{path}/", draw(MODE)))
            continue
        leaves.add(path)
        if kind == "hard link" and files:
            members.append(tars.hard_link(lead + path, draw(st.sampled_from(files))))
        elif kind == "link":
            members.append(tars.symlink(lead + path, draw(PATH)))
        else:
            members.append(tars.file(lead + path, draw(st.binary(max_size=1500)), draw(MODE)))
            files.append(path)
    return tars.layer(*members)


@examples(40)
@given(single_layers(), st.integers(1, 2000))
def test_a_layer_is_unpacked_as_gnu_tar_does(layer: bytes, size: int) -> None:
    with tempfile.TemporaryDirectory() as top:
        tree = Path(top) / "tree"
        tree.mkdir()
        subprocess.run(
            ["tar", "-x", "-p", "--no-same-owner", "--delay-directory-restore", "-C", str(tree)],
            input=layer,
            check=True,
            capture_output=True,
            umask=0o022,
        )
        theirs = snapshot(tree)
        _open_up(top)
    ours = applied(layer, size=size)
    del ours["."], theirs["."]
    assert ours == theirs


# Several layers, and what the specification makes of them.

Action = tuple[str, str]
SHORT = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
ACTIONS = st.lists(
    st.tuples(st.sampled_from(["file", "file", "directory", "whiteout", "opaque"]), SHORT),
    max_size=7,
)
MAKE: dict[str, Callable[[str, bytes], bytes]] = {
    "file": lambda path, content: tars.file(path, content),
    "directory": lambda path, _: tars.directory(path),
    "whiteout": lambda path, _: tars.whiteout(path),
    "opaque": lambda path, _: tars.opaque(path),
}


def model(layers: list[list[Action]]) -> dict[str, bytes | None]:
    """Paths and contents, None for a directory: first what is hidden, then what is made."""
    tree: dict[str, bytes | None] = {}

    def remove(path: str, itself: bool = True) -> None:
        for known in [k for k in tree if (itself and k == path) or k.startswith(path + "/")]:
            del tree[known]

    for number, actions in enumerate(layers):
        for kind, path in actions:
            if kind in ("whiteout", "opaque"):
                remove(path, itself=kind == "whiteout")
        for position, (kind, path) in enumerate(actions):
            if kind in ("whiteout", "opaque"):
                continue
            for parent in (path[:i] for i in range(len(path)) if path[i] == "/"):
                tree[parent] = None
            if kind == "file":
                remove(path)
                tree[path] = b"%d.%d" % (number, position)
            elif tree.get(path, b"") is not None:
                tree[path] = None
    return tree


@examples(150)
@given(st.lists(ACTIONS, min_size=2, max_size=3))
def test_whiteouts_do_what_the_specification_says(layers: list[list[Action]]) -> None:
    packed = [
        tars.layer(*(MAKE[kind](path, b"%d.%d" % (n, i)) for i, (kind, path) in enumerate(actions)))
        for n, actions in enumerate(layers)
    ]
    found = applied(*packed)
    del found["."]
    assert {
        path: node.content if node.kind == "file" else None for path, node in found.items()
    } == model(layers)


# Damage.

SAMPLE = tars.layer(
    tars.directory("d", 0o755), tars.file("d/f", b"content" * 100), tars.symlink("d/l", "../x"),
    tars.hard_link("h", "d/f"), tars.file("n" * 150, b"x"), tars.gnu_name("g" * 200),
    tars.file("cut", b"y"), tars.whiteout("h"), tars.opaque("d"),
)  # fmt: skip


@examples(120)
@given(
    st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), max_size=4),
    st.booleans(),
)
def test_whatever_the_damage_it_is_a_layer_error_or_none(
    changes: list[tuple[int, int]], mend: bool
) -> None:
    damaged = bytearray(SAMPLE)
    for position, value in changes:
        damaged[position] = value
        start = position - position % tars.BLOCK
        if mend:  # let the reader get past the checksum
            block = damaged[start : start + tars.BLOCK]
            block[148:156] = b" " * 8
            damaged[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    try:
        applied(SAMPLE, bytes(damaged))
    except LayerError as error:
        assert str(error).isprintable()


def test_what_was_left_out_is_counted(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    members = [
        tars.file("su", b"123", 0o4755), tars.directory("sg", 0o2755), tars.special("null", b"3"),
        tars.file("f", b"45"), tars.symlink("l", "f"),
    ]  # fmt: skip
    tree.apply(tar.Bytes([tars.layer(*members)], "the layer"))
    tree.finish()
    assert (tree.dropped_setuid, tree.dropped_devices) == (2, 1)
    assert (tree.files, tree.bytes) == (2, 5)


def test_no_descriptor_stays_open_after_an_error(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for bad in (tars.hard_link("a/b/x", "c/none"), tars.header("a/b/y", b"\x7f")):
        tree = Tree(str(tmp_path))
        with pytest.raises(LayerError):
            tree.apply(tar.Bytes([tars.layer(tars.file("a/b/c"), bad)], "the layer"))
        tree.close()
    assert os.listdir("/proc/self/fd") == before


def test_a_store_without_room_is_not_the_fault_of_the_layer(tmp_path: Path) -> None:
    """Only what an entry asks for is a LayerError; /dev/full has no room for anybody."""
    tree = Tree(str(tmp_path))
    shutil.rmtree(tmp_path)
    with pytest.raises(FileNotFoundError):
        tree.apply(tar.Bytes([tars.layer(tars.file("f"))], "the layer"))
    tree.close()


@pytest.mark.parametrize("mode", [0o555, 0o1777, 0o050])
def test_what_a_tree_holds_already_gets_its_modes_and_times_back(tmp_path: Path, mode: int) -> None:
    lower = tmp_path / "top" / "closed" / "inner"
    lower.mkdir(parents=True)
    for place in (lower, lower.parent):
        os.utime(place, (1_500_000_000, 1_500_000_000))
        place.chmod(mode)
    tree = Tree(str(tmp_path / "top"))
    tree.adopt()
    tree.apply(tar.Bytes([tars.layer(tars.file("closed/inner/new", b"x"))], "the layer"))
    tree.apply(tar.Bytes([tars.layer(tars.whiteout("closed/inner/new"))], "the layer"))
    tree.finish()
    found = os.stat(lower.parent)
    assert (stat.S_IMODE(found.st_mode), found.st_mtime) == (mode, 1_500_000_000)
    _open_up(str(tmp_path))
    assert list(lower.iterdir()) == []


def test_the_root_is_a_directory_with_the_mode_and_time_of_its_entry(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    tree.apply(tar.Bytes([tars.layer(tars.directory("./", 0o7751, mtime=5))], "the layer"))
    tree.finish()
    found = tmp_path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime) == (0o1751, 5)
    for name in (".", "./", "/", "a/.."):
        tree = Tree(str(tmp_path))
        with pytest.raises(LayerError):
            tree.apply(tar.Bytes([tars.layer(tars.header(name, b"2", link="x"))], "the layer"))
        tree.close()


def test_a_marker_reaches_deeper_than_python_has_frames(tmp_path: Path) -> None:
    deep = "/".join("d" * 1500)
    lower = tars.layer(tars.file(f"{deep}/hidden", b""), tars.file("e/hidden", b""))
    upper = tars.layer(tars.file(f"{deep}/mine", b""), tars.whiteout("d"))
    tree = Tree(str(tmp_path))
    for layer in (lower, upper):
        tree.apply(tar.Bytes([layer], "the layer"))
    tree.finish()
    assert os.listdir(tmp_path / deep) == ["mine"]
    assert os.listdir(tmp_path / "e") == ["hidden"]
    remove_tree(str(tmp_path))


def test_a_marker_is_refused_where_there_are_no_layers(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    stream = tar.Bytes([tars.layer(tars.whiteout("a"))], "the tar")
    with pytest.raises(LayerError, match=r"the tar holds b'\.wh\.a', which only a layer"):
        tree.apply(stream, whiteouts=False)
    tree.close()

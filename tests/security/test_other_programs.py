"""Layers of any content make the tree of the specification, and of umoci; damage does no harm."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cwl_userspace.errors import LayerError
from cwl_userspace.image import tar
from cwl_userspace.image.bound import Bound
from cwl_userspace.image.confine import remove_tree
from cwl_userspace.image.layers import Tree
from cwl_userspace.image.stream import decompressed
from tests import tars
from tests.catalogue import cases
from tests.images import Layout, plain
from tests.layer_model import MARKERS, Entry, Model, packed
from tests.packing import PACKINGS

pytestmark = pytest.mark.once
COMMON = settings(deadline=None, suppress_health_check=list(HealthCheck))

Facts = dict[str, tuple[Any, ...]]

STEP = st.sampled_from(["a", "b", "c", "ü" * 30, "n" * 150, ".x", " "])
PATH = st.lists(STEP, min_size=1, max_size=3).map("/".join)
KIND = st.sampled_from(
    ["file"] * 4 + ["directory", "directory", "link", "hard link", "sparse", "device", *MARKERS]
)
MODE = st.one_of(st.integers(0, 0o7777), st.sampled_from([0o644, 0o755, 0, 0o4755, 0o1777]))
MTIME = st.sampled_from([0, 1, 1_600_000_000, 2**31 - 1])


@st.composite
def layers(draw: st.DrawFn, simple: bool = False) -> list[list[Entry]]:
    """Two or three layers; a hard link is to a file that is there, and no parent is a link.

    If they are ``simple``, there are no sparse files and devices either, and no parent is a file.
    """
    model, found = Model(), list[list[Entry]]()
    for number in range(draw(st.integers(2, 3))):
        layer = list[Entry]()
        for _ in range(draw(st.integers(0, 7))):
            kind, path = draw(KIND), draw(PATH)
            if simple and kind in ("sparse", "device"):
                continue
            if _through(
                [*found, layer], path, ("link", "hard link", "file") if simple else ("link",)
            ):
                continue
            text = draw(PATH) if kind == "link" else f"{number}.{path}" * draw(st.integers(0, 90))
            if kind == "hard link":
                files = _files([*found, layer], path)
                if not files:
                    continue
                text = draw(st.sampled_from(files))
            if kind in MARKERS and number == 0:
                continue  # there is nothing below
            layer.append(Entry(kind, path, text, draw(MODE), draw(MTIME)))
        found.append(layer)
        model.apply(layer)
    return found


def _model(found: Sequence[Sequence[Entry]]) -> Model:
    model = Model()
    for layer in found:
        model.apply(layer)
    return model


def _through(found: Sequence[Sequence[Entry]], path: str, kinds: Sequence[str]) -> bool:
    """Where the way leads through a link depends on where that leads: not of this model."""
    inner = {entry.path for layer in found for entry in layer if entry.kind in kinds}
    return any(path[:i] in inner for i in range(len(path)) if path[i] == "/")


def _files(found: Sequence[Sequence[Entry]], path: str) -> list[str]:
    """Files that a new name may be given to: not hidden or replaced later in the same layer."""
    below = [entry.path for entry in found[-1] if entry.kind in MARKERS]
    tree = _model(found).tree
    return [
        name
        for name, thing in tree.items()
        if thing.kind == "file"
        and not name.startswith(f"{path}/")
        and name != path
        and not path.startswith(f"{name}/")
        and not any(name == hidden or name.startswith(f"{hidden}/") for hidden in below)
    ]


def applied(packs: Sequence[bytes]) -> Facts:
    """What our own code makes of layers."""
    with tempfile.TemporaryDirectory() as top:
        place = os.path.join(top, "tree")
        os.mkdir(place)
        try:
            tree = Tree(place)
            for layer in packs:
                pieces = (layer[i : i + 700] for i in range(0, len(layer), 700))
                tree.apply(tar.Bytes(pieces, "the layer"))
            tree.finish()
            return facts(place)
        finally:
            remove_tree(place)


def facts(top: str) -> Facts:
    """Kind, mode, content or target, time, and the first other name, of all below a directory."""
    found: Facts = {}
    first: dict[int, str] = {}
    _look(top, "", found, first)
    return found


def _look(top: str, name: str, found: Facts, first: dict[int, str]) -> None:
    for child in sorted(os.listdir(os.path.join(top, name))):
        below = os.path.join(name, child)
        path = os.path.join(top, below)
        seen = os.lstat(path)
        mode, mtime = seen.st_mode & 0o7777, int(seen.st_mtime)
        if os.path.islink(path):
            found[below] = ("link", os.readlink(path).encode(), 0, None)
            continue
        if os.geteuid():
            os.chmod(path, 0o700)
        if os.path.isdir(path):
            found[below] = ("directory", b"", mode, mtime)
            _look(top, below, found, first)
            continue
        with open(path, "rb") as file:
            kept = first.setdefault(seen.st_ino, below)
            found[below] = ("file", file.read(), mode, mtime, kept)
        os.chmod(path, mode)  # its other names have the same


def expected(model: Model) -> Facts:
    """The same of a model; the time of what only a path implies is nobody's business."""
    found: Facts = {}
    first: dict[int, str] = {}
    for path, thing in sorted(model.tree.items(), key=lambda item: item[0].split("/")):
        mtime = None if thing.kind == "link" else thing.mtime
        facts = (thing.kind, thing.text, thing.mode, mtime)
        name = first.setdefault(id(thing), path)
        found[path] = (*facts, name) if thing.kind == "file" else facts
    return found


def without_implied_times(found: Facts, model: Model) -> Facts:
    return {
        path: (*seen[:3], None, *seen[4:])
        if path in model.tree and model.tree[path].mtime is None
        else seen
        for path, seen in found.items()
    }


@settings(COMMON, max_examples=100)
@given(layers())
def test_layers_are_what_the_specification_says(found: list[list[Entry]]) -> None:
    model = _model(found)
    ours = applied([packed(layer) for layer in found])
    assert without_implied_times(ours, model) == expected(model)


@settings(COMMON, max_examples=12)
@given(layers(simple=True))
def test_layers_are_unpacked_as_umoci_does(found: list[list[Entry]]) -> None:
    """Which reads no sparse files, makes empty files of devices, and takes no file for a parent."""
    packs = [packed(layer) for layer in found]
    with tempfile.TemporaryDirectory() as top:
        bundle = os.path.join(top, "bundle")
        try:
            theirs = _umoci(top, bundle, packs)
        finally:
            remove_tree(bundle)
    ours = applied(packs)
    assert {path: _comparable(seen) for path, seen in ours.items()} == theirs


def _umoci(top: str, bundle: str, packs: Sequence[bytes]) -> Facts:
    layout = Layout()
    layout.entry(layout.manifest(packs, plain), "one")
    image = layout.directory(Path(top) / "image")
    said = subprocess.run(
        ["umoci", "unpack", "--rootless", "--image", f"{image}:one", bundle],
        capture_output=True,
        check=False,
        umask=0o022,
    )
    assert said.returncode == 0, said
    return {path: _comparable(seen) for path, seen in facts(os.path.join(bundle, "rootfs")).items()}


def _comparable(seen: tuple[Any, ...]) -> tuple[Any, ...]:
    """It keeps set-user-ID bits, and its own times for directories."""
    kind, content, mode, mtime, *name = seen
    special = 0o1777 if kind == "directory" else 0o777
    return (kind, content, mode & special, mtime if kind == "file" else None, *name)


# Damage of any kind: an error of the layer or none, and neither memory nor time without bounds.

SOUND = [
    *(layer for case in cases().values() for layer in case.layers if len(layer) < 60_000),
    tars.layer(tars.file("a", b"x" * 3000)),
]


@settings(COMMON, max_examples=200)
@given(
    st.sampled_from(SOUND),
    st.sampled_from(list(PACKINGS)),
    st.lists(
        st.tuples(st.sampled_from("ocdi"), st.floats(0, 1), st.binary(min_size=1, max_size=24)),
        max_size=3,
    ),
    st.booleans(),
    st.integers(1, 5000),
)
def test_whatever_bytes_come_it_is_an_error_of_the_layer_or_none(
    sound: bytes, packing: str, changes: list[tuple[str, float, bytes]], packed: bool, size: int
) -> None:
    raw = bytearray(PACKINGS[packing](sound) if packed else sound)
    for change, where, piece in changes:
        at = int(where * len(raw))
        if change == "o":
            raw[at : at + len(piece)] = piece
        elif change == "i":
            raw[at:at] = piece
        elif change == "d":
            del raw[at : at + len(piece)]
        else:
            del raw[at:]
    _survive(bytes(raw) if packed else _mended(bytes(raw)), size)


def _mended(raw: bytes) -> bytes:
    """The checksums of what looks like headers are made right, so that more is read."""
    blocks = [bytearray(raw[i : i + 512]) for i in range(0, len(raw), 512)]
    for block in blocks:
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
    return b"".join(blocks)


def _survive(raw: bytes, size: int) -> None:
    with tempfile.TemporaryDirectory() as top:
        place = os.path.join(top, "tree")
        os.mkdir(place)
        tree = Tree(place)
        open_before = len(os.listdir("/proc/self/fd"))
        pieces = (raw[i : i + size] for i in range(0, len(raw), size))
        plain = Bound(tree, 1 << 26).watched(decompressed(pieces, "the layer"), "the layer")
        try:
            tree.apply(tar.Bytes(plain, "the layer"))
            assert len(os.listdir("/proc/self/fd")) == open_before
            tree.finish()
        except LayerError as error:
            assert error.message and error.hint
            tree.close()
        finally:
            remove_tree(place)
        assert os.listdir(top) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 600 << 10

"""A store, images of layers that are put into it, and three such layers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cwl_userspace.image.layout import Layout
from cwl_userspace.oci import Layer, Platform
from cwl_userspace.reference import ImageReference
from cwl_userspace.store.images import ensure
from cwl_userspace.store.records import Record
from cwl_userspace.store.store import Store
from tests import tars
from tests.images import NAME, oci_directory
from tests.trees import Snapshot, snapshot

LOWER = tars.layer(
    tars.directory("bin", mtime=1_500_000_000),
    tars.file("bin/tool", b"the tool", 0o755),
    tars.file("bin/other", b"another"),
    tars.hard_link("bin/same", "bin/tool"),
    tars.symlink("lib", "bin"),
    tars.directory("closed", 0o555),
    tars.file("closed/secret", b"shadow", 0o000),
    tars.file("gone", b"not for long"),
    tars.file("empty"),
    tars.file("setuid", b"s", 0o4755),
)
UPPER = tars.layer(
    tars.file("bin/other", b"replaced", 0o600),
    tars.file("lib/more", b"through a link"),
    tars.file("closed/more", b"x"),
    tars.hard_link("bin/third", "bin/tool"),
    tars.whiteout("gone"),
)
TOP = tars.layer(tars.file("top", b"1"))


class Counting:
    """A layout that notes whose bytes it was asked for."""

    label = "a test"

    def __init__(self, path: Path) -> None:
        self._layout = Layout.directory(str(path))
        self.image = self._layout.image
        self.asked: list[int] = []

    def layer(self, layer: Layer) -> Iterator[bytes]:
        self.asked.append(layer.blob.size or 0)
        return self._layout.layer(layer)


class Shop:
    """A store, and images of layers to put into it."""

    def __init__(self, top: Path, store: str = "store") -> None:
        self._top = top
        self._number = 0
        self.store = Store(str(top / store))

    def put(self, *layers: bytes) -> tuple[Record, int]:
        """Fetch an image; its record, and how many layers were asked for."""
        self._number += 1
        source = self.source(layers)
        return self.fetch(source), len(source.asked)

    def source(self, layers: Sequence[bytes]) -> Counting:
        place = self._top / f"{os.path.basename(self.store.path)}-image-{self._number}"
        return Counting(oci_directory(place, layers, name=f"docker.io/library/{NAME}"))

    def fetch(self, source: Counting) -> Record:
        name = ImageReference.parse(NAME)
        return ensure(name, [source], self.store, Platform.host(), lambda doing: None, True)

    def tree(self, record: Record) -> Path:
        return Path(self.store.tree(record.chain))


def times(top: Path) -> dict[str, int]:
    """When each name below was changed."""
    return {str(p.relative_to(top)): p.lstat().st_mtime_ns for p in top.rglob("*")}


def whole(tmp_path: Path, *layers: bytes) -> tuple[Snapshot, dict[str, int]]:
    """The tree of the same layers in a store that has nothing else."""
    shop = Shop(tmp_path, "whole")
    record, asked = shop.put(*layers)
    assert asked == len(layers)
    tree = shop.tree(record)
    return snapshot(tree), times(tree)


def inodes(tree: Path, *names: str) -> list[int]:
    return [(tree / name).lstat().st_ino for name in names]

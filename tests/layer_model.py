"""Layers as lists of plain values, what they are as tars, and what the specification makes of them.

The model is the OCI image specification, layer.md, in the order of its words: what the markers of a
layer hide goes first, then each of its entries comes in place of what had its name. Nothing in it
knows how a tree is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests import sparse_tars, tars

MARKERS = ("whiteout", "opaque")


class Entry(NamedTuple):
    """``text`` is a link's target, or the content; ``kind`` one of the methods of ``Model``."""

    kind: str
    path: str
    text: str = ""
    mode: int = 0o644
    mtime: int = 1_600_000_000


class Thing:
    """A file, directory or link; names of one file are one Thing."""

    def __init__(self, kind: str, text: bytes = b"", mode: int = 0, mtime: int | None = None):
        self.kind, self.text, self.mode, self.mtime = kind, text, mode, mtime


class Model:
    """A tree in memory, by its paths."""

    def __init__(self) -> None:
        self.tree: dict[str, Thing] = {}

    def apply(self, layer: Sequence[Entry]) -> None:
        """One layer more."""
        for entry in layer:
            if entry.kind in MARKERS:
                self._hide(entry.path, itself=entry.kind == "whiteout")
        for entry in layer:
            if entry.kind not in MARKERS:
                self._make(entry)

    def _hide(self, path: str, itself: bool) -> None:
        below = f"{path}/" if path else ""
        for known in list(self.tree):
            if (itself and known == path) or (known.startswith(below) and known != path):
                del self.tree[known]

    def _make(self, entry: Entry) -> None:
        path = entry.path
        for parent in (path[:i] for i in range(len(path)) if path[i] == "/"):
            if parent not in self.tree or self.tree[parent].kind != "directory":
                self._hide(parent, itself=True)
                self.tree[parent] = Thing("directory", mode=0o755)
        if entry.kind == "directory" and path in self.tree and self.tree[path].kind == "directory":
            self.tree[path].mode, self.tree[path].mtime = entry.mode & 0o1777, entry.mtime
            return
        thing = self.tree[entry.text] if entry.kind == "hard link" else None
        self._hide(path, itself=True)
        if entry.kind == "device":
            return
        mode = {"link": 0, "directory": entry.mode & 0o1777}.get(entry.kind, entry.mode & 0o777)
        kind = "file" if entry.kind == "sparse" else entry.kind
        text = b"" if kind == "directory" else entry.text.encode()
        self.tree[path] = thing or Thing(kind, text, mode, entry.mtime)


def packed(layer: Sequence[Entry]) -> bytes:
    """The layer as a tar."""
    return tars.layer(*map(_member, layer))


def _member(entry: Entry) -> bytes:
    kind, path, text, mode, mtime = entry
    if kind == "whiteout":
        return tars.whiteout(path)
    if kind == "opaque":
        return tars.opaque(path)
    if kind == "directory":
        return tars.directory(f"{path}/", mode, mtime=mtime)
    if kind == "link":
        return tars.symlink(path, text)
    if kind == "hard link":
        return tars.hard_link(path, text)
    if kind == "device":
        return tars.long_name(path) + tars.special(path.encode()[:100], b"3")
    if kind == "sparse":
        raw = text.encode()
        extents = [(0, raw)] if raw else []
        return sparse_tars.pax10(path, len(raw), extents, mode=mode, mtime=mtime)
    return tars.file(path, text.encode(), mode, mtime=mtime)

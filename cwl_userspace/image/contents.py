"""What a tree holds, written down while it is made, so that it can be compared later.

The record is a journal: an entry for each thing in the order in which it was made or removed, each
ended by a zero byte, all compressed with zstd. Nothing is looked up while it is written, which is
on the way of every fetch; what there is in the end is found by reading it from its beginning::

    V 1                                    the version, at the beginning of each part
    D MODE SECONDS NAME                    a directory; again for a new mode or time
    F MODE SIZE SECONDS CRC NAME           a file; CRC is that of gzip, over what was written
    L SECONDS NAME NUL TARGET              a symbolic link
    H NAME NUL EARLIER                     another name of an earlier file or link
    - NAME                                 what was there is gone, with all that was in it

MODE is octal, CRC hexadecimal, times are whole seconds since 1970. NAME is relative, as bytes; it
is empty for the root. A tree that goes on from another has that one's record before its own: parts
are joined by writing one after the other.

CRC-32 finds every accident of up to 32 bits in a row, and misses one in four milliards of others.
It does not stop anybody who wants to deceive: who can write the store can write the record, too.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from cwl_userspace.errors import ImageError, StoreError
from cwl_userspace.image.confine import Parts
from cwl_userspace.image.stream import decompressed

try:  # ten times as fast as zlib's
    from isal import isal_zlib

    _fast: ModuleType = isal_zlib
except ImportError:
    _fast = zlib

VERSION = b"V 1"
_LEVEL = 1
_BATCH = 4096

crc32 = _fast.crc32


class Journal:
    """The record of a tree that is being made. What was recorded before it goes on from there."""

    def __init__(self, before: bytes = b"") -> None:
        self._packer: Any = None
        self._packed = [before]
        self._entries = [VERSION]

    def directory(self, place: Parts, mode: int, mtime: float) -> None:
        """A directory was made, or has another mode or time now."""
        self._add(b"D %o %d %b" % (mode, mtime // 1, b"/".join(place)))

    def file(self, place: Parts, mode: int, size: int, mtime: float, crc: int) -> None:
        """A file was written; ``crc`` is ``crc32`` over its content."""
        self._add(b"F %o %d %d %x %b" % (mode, size, mtime // 1, crc, b"/".join(place)))

    def link(self, place: Parts, target: bytes, mtime: float) -> None:
        """A symbolic link was made."""
        self._add(b"L %d %b\0%b" % (mtime // 1, b"/".join(place), target))

    def hard_link(self, place: Parts, earlier: Parts) -> None:
        """A file or link got one more name."""
        self._add(b"H %b\0%b" % (b"/".join(place), b"/".join(earlier)))

    def removed(self, place: Parts) -> None:
        """What was at a place is gone."""
        self._add(b"- " + b"/".join(place))

    def packed(self) -> bytes:
        """The whole record, for a file; nothing can be added after it."""
        self._flush()
        self._packed.append(self._packer.flush())
        return b"".join(self._packed)

    def _add(self, entry: bytes) -> None:
        self._entries.append(entry)
        if len(self._entries) > _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._packer is None:
            import zstandard  # a fetch has begun by now, and goes on meanwhile

            compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
            self._packer = compressor.compressobj()
        self._entries.append(b"")
        self._packed.append(self._packer.compress(b"\0".join(self._entries)))
        self._entries = []


class Node:
    """One thing that a tree should hold. Names of one file have the same node."""

    __slots__ = ("children", "crc", "kind", "mode", "mtime", "size", "target")

    def __init__(self, kind: bytes, mode: int, mtime: int) -> None:
        self.kind = kind
        self.mode = mode
        self.mtime = mtime
        self.size = 0
        self.crc = 0
        self.target = b""
        self.children: dict[bytes, Node] = {}


def read(packed: bytes, what: str) -> Node:
    """What the tree of a record should hold: its root; raise StoreError if that is damaged."""
    try:
        return _resolved(_entries(packed, what))
    except (ImageError, ValueError, KeyError, IndexError) as error:
        raise StoreError(
            f"{what} is damaged: {error}", "remove that file; verify --record writes a new one"
        ) from None


def _entries(packed: bytes, what: str) -> Iterator[bytes]:
    rest = b""
    for chunk in decompressed([packed], what):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
    if rest:
        raise ValueError("its last entry is cut short")


def _resolved(entries: Iterator[bytes]) -> Node:
    root = Node(b"D", 0o755, 0)
    if (first := next(entries, b"nothing")) != VERSION:
        raise ValueError(f"it begins with {first!r:.20}")
    for entry in entries:
        kind = entry[:1]
        if kind == b"V":
            if entry != VERSION:
                raise ValueError(f"its version is {entry!r:.20}")
        elif kind == b"D":
            _, mode, mtime, name = entry.split(b" ", 3)
            _directory(root, name, int(mode, 8), int(mtime))
        elif kind == b"F":
            _, mode, size, mtime, crc, name = entry.split(b" ", 5)
            node = Node(b"F", int(mode, 8), int(mtime))
            node.size, node.crc = int(size), int(crc, 16)
            _put(root, name, node)
        elif kind == b"L":
            _, mtime, name = entry.split(b" ", 2)
            node = Node(b"L", 0o777, int(mtime))
            node.target = next(entries)
            _put(root, name, node)
        elif kind == b"H":
            earlier = _parent(root, target := next(entries)).children[_last(target)]
            _put(root, entry[2:], earlier)
        elif kind == b"-":
            _parent(root, entry[2:]).children.pop(_last(entry[2:]), None)
        else:
            raise ValueError(f"it has the entry {entry!r:.40}")
    return root


def _directory(root: Node, name: bytes, mode: int, mtime: int) -> None:
    if not name:
        root.mode, root.mtime = mode, mtime
        return
    there = _parent(root, name).children.get(_last(name))
    if there is not None and there.kind == b"D":
        there.mode, there.mtime = mode, mtime
    else:
        _put(root, name, Node(b"D", mode, mtime))


def _put(root: Node, name: bytes, node: Node) -> None:
    _parent(root, name).children[_last(name)] = node


def _parent(root: Node, name: bytes) -> Node:
    node = root
    for part in name.split(b"/")[:-1]:
        node = node.children[part]
    return node


def _last(name: bytes) -> bytes:
    return name.rpartition(b"/")[2]

"""What a tree holds, written down while it is made, so that it can be compared later.

The record is a journal: an entry for each thing in the order in which it was made or removed, each
ended by a zero byte, all compressed with zstd. Nothing is looked up while it is written, which is
on the way of every fetch; what there is in the end is found by reading it from its beginning::

    V 1                                    the version, at the beginning of each layer
    D MODE SECONDS[.NANOSECONDS] NAME      a directory; again for a new mode or time
    F MODE SIZE SECONDS CRC NAME           a file; CRC is that of gzip, over what was written
    L SECONDS NAME NUL TARGET              a symbolic link
    H NAME NUL EARLIER                     another name of an earlier file or link
    - NAME                                 what was there is gone, with all that was in it

MODE is octal, CRC hexadecimal, times are seconds since 1970. NAME is relative, as bytes; it is
empty for the root. A tree that goes on from another has that one's record before its own: parts
are joined by writing one after the other.

CRC-32 finds every accident of up to 32 bits in a row, and misses one in four milliards of others.
It does not stop anybody who wants to deceive: who can write the store can write the record, too.
"""

from __future__ import annotations

import contextlib
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


def removal(layer: int, number: int) -> str:
    """What a removal is called: the lowest layer is 0, the first removal in each is 1."""
    return f"{layer}.{number}"


def layer_of(removal: str) -> int:
    """The layer that has removed something."""
    return int(removal.partition(".")[0])


class Journal:
    """The record of a tree that is being made. What was recorded ``before`` of so many ``layers``
    it goes on from."""

    def __init__(self, before: bytes = b"", layers: int = 0) -> None:
        self._packer: Any = None
        self._packed = [before]
        self._entries: list[bytes] = []
        self._layer = layers - 1
        self._removals = 0

    def layer(self) -> None:
        """A layer begins, or what is recorded without any."""
        self._layer += 1
        self._removals = 0
        self._add(VERSION)

    def directory(self, place: Parts, mode: int, mtime: float) -> None:
        """A directory was made, or has another mode or time now."""
        seconds, fraction = divmod(int(mtime * 1_000_000_000), 1_000_000_000)
        when = b"%d.%09d" % (seconds, fraction) if fraction else b"%d" % seconds
        self._add(b"D %o %b %b" % (mode, when, b"/".join(place)))

    def file(self, place: Parts, mode: int, size: int, mtime: float, crc: int) -> None:
        """A file was written; ``crc`` is ``crc32`` over its content."""
        self._add(b"F %o %d %d %x %b" % (mode, size, mtime // 1, crc, b"/".join(place)))

    def link(self, place: Parts, target: bytes, mtime: float) -> None:
        """A symbolic link was made."""
        self._add(b"L %d %b\0%b" % (mtime // 1, b"/".join(place), target))

    def hard_link(self, place: Parts, earlier: Parts) -> None:
        """A file or link got one more name."""
        self._add(b"H %b\0%b" % (b"/".join(place), b"/".join(earlier)))

    def removed(self, place: Parts) -> str:
        """What was at a place is gone; what this removal is called."""
        self._add(b"- " + b"/".join(place))
        self._removals += 1
        return removal(self._layer, self._removals)

    def repeat(self, step: Step) -> None:
        """What another record says."""
        for field in step:
            self._add(field)

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

    __slots__ = ("children", "crc", "kind", "mode", "mtime", "nanoseconds", "size", "target")

    def __init__(self, kind: bytes, mode: int, mtime: int) -> None:
        self.kind = kind
        self.mode = mode
        self.mtime = mtime
        self.nanoseconds = 0  # what the time of a directory has beside its seconds
        self.size = 0
        self.crc = 0
        self.target = b""
        self.children: dict[bytes, Node] = {}


Step = tuple[bytes, ...]  # an entry, and what follows it after a zero byte


def read(packed: bytes, what: str) -> Node:
    """What the tree of a record should hold: its root; raise StoreError if that is damaged."""
    replay = Replay()
    with damaged(what):
        for step in steps(packed, what):
            replay.take(step)
    return replay.root


@contextlib.contextmanager
def damaged(what: str) -> Iterator[None]:
    """Raise StoreError for whatever the steps of a damaged record give, or taking them."""
    try:
        yield
    except (ImageError, ValueError, KeyError, IndexError) as error:
        raise StoreError(
            f"{what} is damaged: {error}", "remove that file; verify --record writes a new one"
        ) from None


def steps(packed: bytes, what: str) -> Iterator[Step]:
    """What a record says, from its beginning."""
    fields = _fields(packed, what)
    first = True
    for field in fields:
        if field != VERSION and (first or field[:1] == b"V"):
            raise ValueError(f"it has {field!r:.20} in place of the version {VERSION!r}")
        first = False
        if field[:1] in (b"L", b"H"):
            yield field, next(fields, b"")
        else:
            yield (field,)
    if first:
        raise ValueError("it is empty")


def _fields(packed: bytes, what: str) -> Iterator[bytes]:
    rest = b""
    for chunk in decompressed([packed], what):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
    if rest:
        raise ValueError("its last entry is cut short")


class Replay:
    """A tree as it was made, step by step; ``root`` is what it holds so far."""

    def __init__(self) -> None:
        self.root = Node(b"D", 0o755, 0)

    def take(self, step: Step) -> Node | None:
        """One step more; what it has removed."""
        entry, kind = step[0], step[0][:1]
        if kind == b"D":
            _, mode, mtime, name = entry.split(b" ", 3)
            self._directory(name, int(mode, 8), mtime)
        elif kind == b"F":
            _, mode, size, mtime, crc, name = entry.split(b" ", 5)
            node = Node(b"F", int(mode, 8), int(mtime))
            node.size, node.crc = int(size), int(crc, 16)
            self._put(name, node)
        elif kind == b"L":
            _, mtime, name = entry.split(b" ", 2)
            node = Node(b"L", 0o777, int(mtime))
            node.target = step[1]
            self._put(name, node)
        elif kind == b"H":
            self._put(entry[2:], self._parent(step[1]).children[_last(step[1])])
        elif kind == b"-":
            return self._parent(entry[2:]).children.pop(_last(entry[2:]), None)
        elif kind != b"V":
            raise ValueError(f"it has the entry {entry!r:.40}")
        return None

    def _directory(self, name: bytes, mode: int, mtime: bytes) -> None:
        node = self._parent(name).children.get(_last(name)) if name else self.root
        if node is None or node.kind != b"D":
            node = Node(b"D", mode, 0)
            self._put(name, node)
        seconds, _, nanoseconds = mtime.partition(b".")
        node.mode, node.mtime, node.nanoseconds = mode, int(seconds), int(nanoseconds or b"0")

    def _put(self, name: bytes, node: Node) -> None:
        self._parent(name).children[_last(name)] = node

    def _parent(self, name: bytes) -> Node:
        node = self.root
        for part in name.split(b"/")[:-1]:
            node = node.children[part]
        return node


def _last(name: bytes) -> bytes:
    return name.rpartition(b"/")[2]

"""Write tar archives: POSIX ustar, with PAX records where a name or a number is too long for it.

The same entries give the same bytes: everything belongs to 0:0 and names of owners are empty.
Times are whole seconds, as in the layers that Docker writes, unless an entry's is not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from cwl_userspace.errors import StoreError
from cwl_userspace.image.tar import BLOCK, DIRECTORY, HARD_LINK, REGULAR, SYMLINK, Entry

_PAX = ord("x")
_CHUNK = 1 << 20
_LARGEST = 8**11
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

END = bytes(2 * BLOCK)


class Writer:
    """Hands the bytes of an archive to ``write``, one entry after the other; then ``finish``."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def entry(self, entry: Entry, content: Iterable[bytes] = ()) -> None:
        """One member; a regular file's content must have the size that the entry states."""
        for piece in member(entry, content):
            self._write(piece)

    def directory(self, name: bytes, mode: int, mtime: float) -> None:
        """A directory; its name may be empty for the root of the tree."""
        self.entry(Entry(DIRECTORY, name + b"/" if name else b"./", b"", mode, 0, mtime))

    def link(self, name: bytes, target: bytes, mtime: float) -> None:
        """A symbolic link."""
        self.entry(Entry(SYMLINK, name, target, 0o777, 0, mtime))

    def hard_link(self, name: bytes, target: bytes, mode: int, mtime: float) -> None:
        """Another name of an earlier file."""
        self.entry(Entry(HARD_LINK, name, target, mode, 0, mtime))

    def file(self, name: bytes, content: bytes, mode: int, mtime: float) -> None:
        """A small regular file."""
        self.entry(Entry(REGULAR, name, b"", mode, len(content), mtime), (content,))

    def finish(self) -> None:
        """The end of the archive."""
        self._write(END)


def member(entry: Entry, content: Iterable[bytes] = ()) -> Iterator[bytes]:
    """The bytes of one member; raise StoreError if its content is not of the size stated."""
    yield _header(entry)
    if entry.kind != REGULAR:
        return
    left = entry.size
    for chunk in content:
        left -= len(chunk)
        yield chunk
    if left:
        raise StoreError(f"{os.fsdecode(entry.name)} has changed while it was read", "try again")
    yield bytes(-entry.size % BLOCK)


def size_of(entry: Entry) -> int:
    """How many bytes an entry and its content take in an archive."""
    content = entry.size if entry.kind == REGULAR else 0
    return len(_header(entry)) + content + (-content % BLOCK)


def content_of(path: bytes) -> Iterator[bytes]:
    """The bytes of a regular file as they come, though its mode may forbid its owner to read."""
    fd = open_readable(path)
    try:
        while chunk := os.read(fd, _CHUNK):
            yield chunk
    finally:
        os.close(fd)


def open_readable(path: bytes) -> int:
    """Open a file of ours for reading; one whose mode forbids it is opened up for a moment.

    Raise StoreError for one that is another's.
    """
    try:
        return os.open(path, _READ)
    except PermissionError:
        mode = os.lstat(path).st_mode & 0o7777
        try:
            os.chmod(path, mode | 0o400)
        except OSError:
            raise StoreError(
                f"the file {os.fsdecode(path)!r} cannot be read: permission denied",
                "have it be readable, or do it as who may read it",
            ) from None
        try:
            return os.open(path, _READ)
        finally:
            os.chmod(path, mode)


def _header(entry: Entry) -> bytes:
    """The header block, with one more member before it for what does not fit."""
    mtime = int(entry.mtime // 1)
    records = b""
    name, link, size = entry.name, entry.link, entry.size
    if len(name) > 100:
        records += _record(b"path", name)
    if len(link) > 100:
        records += _record(b"linkpath", link)
    if size >= _LARGEST:
        records += _record(b"size", b"%d" % size)
        size = 0
    if mtime != entry.mtime or not 0 <= mtime < _LARGEST:
        exact = b"%d" % mtime if mtime == entry.mtime else b"%.9f" % entry.mtime
        records += _record(b"mtime", exact)
        mtime = mtime if 0 <= mtime < _LARGEST else 0
    block = _block(name[:100], link[:100], entry.kind, entry.mode, size, mtime)
    if not records:
        return block
    extension = _block(b"PaxHeaders/" + name[-80:].strip(b"/"), b"", _PAX, 0o644, len(records), 0)
    return extension + records + bytes(-len(records) % BLOCK) + block


def _block(name: bytes, link: bytes, kind: int, mode: int, size: int, mtime: int) -> bytes:
    fields = (
        name.ljust(100, b"\0"),
        b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, 0, 0, size, mtime),
        b" " * 8,
        bytes((kind,)),
        link.ljust(100, b"\0"),
        b"ustar\00000",
        bytes(64),
        b"%07o\0%07o\0" % (0, 0),
    )
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _record(key: bytes, value: bytes) -> bytes:
    """``length key=value newline``, the length counting its own digits (pax(1))."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)

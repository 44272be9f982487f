"""Compare a tree with the record of what it should hold; nothing is written.

Contents are read by several threads: reading and CRC-32 release the interpreter's lock, and a
shared file system answers many questions at once better than one after the other.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from cwl_userspace.image.contents import Node, crc32

MISSING, ADDITIONAL, CHANGED = "missing", "additional", "changed"
_THREADS = 4
_BATCH = 64
_CHUNK = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOATIME
_KINDS = {stat.S_IFREG: b"F", stat.S_IFDIR: b"D", stat.S_IFLNK: b"L"}
_CALLED = {b"F": "a file", b"D": "a directory", b"L": "a link"}


class Difference(NamedTuple):
    """One name, relative to the root, at which tree and record differ, and how."""

    kind: str
    name: bytes
    how: str


class Compared(NamedTuple):
    """What was found: the differences in the order of names, and how much was looked at.

    ``unread`` are files and directories that could not be read, as their modes say.
    """

    differences: list[Difference]
    files: int
    size: int
    unread: list[bytes]


def closed(root: Node) -> bool:
    """True if a record has files or directories that their modes close to their owner."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        need = 0o500 if node.kind == b"D" else 0o400
        if node.mode & need != need:
            return True
        waiting += node.children.values()
    return False


def compare(rootfs: str, root: Node, content: bool = True, opened: bool = False) -> Compared:
    """Hold a tree against its record; without ``content`` no file is read.

    ``opened`` modes are those that ``open_tree`` (store/modes.py) gives in a store of a group: they
    are right as well.

    Raise OSError for what cannot be looked at, but for what a mode closes.
    """
    return _Comparison(content, opened).run(os.fsencode(rootfs), root)


class _Wanted(NamedTuple):
    """A file whose content is to be read."""

    path: bytes
    name: bytes
    crc: int


class _Comparison:
    """The state of one comparison."""

    def __init__(self, content: bool, opened: bool) -> None:
        self._content = content
        self._opened = opened
        self._found: list[Difference] = []
        self._unread: list[bytes] = []
        self._files = 0
        self._size = 0
        self._wanted: list[_Wanted] = []
        self._places: dict[int, tuple[int, int]] = {}
        self._running: list[Future[list[Difference | bytes]]] = []

    def run(self, top: bytes, root: Node) -> Compared:
        with ThreadPoolExecutor(_THREADS) as pool:
            self._look(b"", top, root)
            waiting = [(b"", top, root)]
            while waiting:
                name, path, node = waiting.pop()
                waiting += self._directory(name, path, node)
                if len(self._wanted) >= _BATCH:
                    self._submit(pool)
            self._submit(pool)
            for future in self._running:
                for result in future.result():
                    if isinstance(result, bytes):
                        self._unread.append(result)
                    else:
                        self._found.append(result)
        order = sorted(self._found, key=lambda difference: difference.name)
        return Compared(order, self._files, self._size, sorted(self._unread))

    def _submit(self, pool: ThreadPoolExecutor) -> None:
        if self._wanted:
            self._running.append(pool.submit(_read, self._wanted))
            self._wanted = []

    def _directory(
        self, name: bytes, path: bytes, node: Node
    ) -> Iterator[tuple[bytes, bytes, Node]]:
        """Look at all that is in a directory; give the directories in it that are right."""
        try:
            there = os.listdir(path)
        except PermissionError:
            self._unread.append(name)
            return
        for child in set(there) - set(node.children):
            self._additional(os.path.join(name, child), os.path.join(path, child))
        here = set(there)
        for child, inner in node.children.items():
            inner_name, inner_path = os.path.join(name, child), os.path.join(path, child)
            if child not in here:
                self._missing(inner_name, inner)
            elif self._look(inner_name, inner_path, inner) and inner.kind == b"D":
                yield inner_name, inner_path, inner

    def _additional(self, name: bytes, path: bytes) -> None:
        waiting = [(name, path)]
        while waiting:
            name, path = waiting.pop()
            self._found.append(Difference(ADDITIONAL, name, ""))
            if stat.S_ISDIR(os.lstat(path).st_mode):
                try:
                    inner = os.listdir(path)
                except PermissionError:
                    self._unread.append(name)
                else:
                    waiting += [(os.path.join(name, n), os.path.join(path, n)) for n in inner]

    def _missing(self, name: bytes, node: Node) -> None:
        waiting = [(name, node)]
        while waiting:
            name, node = waiting.pop()
            self._found.append(Difference(MISSING, name, ""))
            waiting += [(os.path.join(name, n), inner) for n, inner in node.children.items()]

    def _look(self, name: bytes, path: bytes, node: Node) -> bool:
        """Compare one thing with its node; False if it is of another kind."""
        found = os.lstat(path)
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), b"")
        if kind != node.kind:
            called = _CALLED.get(kind, "a device, pipe or socket")
            self._changed(name, f"{called}, not {_CALLED[node.kind]}")
            for child, inner in node.children.items():
                self._missing(os.path.join(name, child), inner)
            return False
        mode, mtime = stat.S_IMODE(found.st_mode), found.st_mtime_ns // 1_000_000_000
        how = []
        if kind != b"L" and mode != node.mode and not (self._opened and mode == _opened(node)):
            how.append(f"mode {mode:04o}, not {node.mode:04o}")
        if kind == b"L" and (target := os.readlink(path)) != node.target:
            how.append(f"it points to {os.fsdecode(target)!r}, not {os.fsdecode(node.target)!r}")
        if kind == b"F" and found.st_size != node.size:
            how.append(f"{found.st_size} bytes, not {node.size}")
        elif mtime != node.mtime:
            how.append(f"its time is {mtime}, not {node.mtime}")
        if kind != b"D":
            how += self._file(name, path, node, found)
        if how:
            self._changed(name, ", ".join(how))
        return True

    def _file(self, name: bytes, path: bytes, node: Node, found: os.stat_result) -> list[str]:
        """Have a file read once, whatever number of names it has; all of them must be the same."""
        place = (found.st_dev, found.st_ino)
        first = self._places.get(id(node))
        if first is not None:
            return [] if first == place else ["no longer the same file as its other names"]
        self._places[id(node)] = place
        self._files += 1
        if node.kind == b"F" and self._content and found.st_size == node.size and node.size:
            self._size += node.size
            self._wanted.append(_Wanted(path, name, node.crc))
        return []

    def _changed(self, name: bytes, how: str) -> None:
        self._found.append(Difference(CHANGED, name, how))


def _opened(node: Node) -> int:
    """The mode that something has in a store of a group."""
    if node.kind == b"D":
        return (node.mode & ~stat.S_ISVTX if node.children else node.mode) | 0o570
    return node.mode | 0o440 | (node.mode & 0o100) >> 3


def _read(files: list[_Wanted]) -> list[Difference | bytes]:
    """The files whose content is another; of those that cannot be read only the name."""
    results: list[Difference | bytes] = []
    for path, name, crc in files:
        try:
            if crc_of(path) != crc:
                results.append(Difference(CHANGED, name, "its content"))
        except PermissionError:
            results.append(name)
        except OSError as error:
            results.append(Difference(CHANGED, name, f"it cannot be read: {error.strerror}"))
    return results


def crc_of(path: bytes) -> int:
    """CRC-32 over the content of a file; raise OSError if it cannot be read."""
    try:
        fd = os.open(path, _READ)
    except PermissionError:  # O_NOATIME is for the owner alone
        fd = os.open(path, _READ & ~os.O_NOATIME)
    try:
        crc = 0
        while chunk := os.read(fd, _CHUNK):
            crc = crc32(chunk, crc)
        return int(crc)
    finally:
        os.close(fd)

"""What a directory holds, as a value that can be compared: types, modes, contents, links."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Node(NamedTuple):
    """One name in a tree. ``same`` are the other names of the same file."""

    kind: str
    mode: int = 0
    content: bytes = b""
    same: frozenset[str] = frozenset()


Snapshot = dict[str, Node]


def file(content: bytes = b"", mode: int = 0o644, *same: str) -> Node:
    return Node("file", mode, content, frozenset(same))


def directory(mode: int = 0o755) -> Node:
    return Node("directory", mode)


def link(target: str | bytes) -> Node:
    return Node("link", 0, os.fsencode(target))


def snapshot(top: Path) -> Snapshot:
    """Every name below ``top``, and ``.`` for itself; modes are as before afterwards."""
    found: dict[str, tuple[Node, tuple[int, int]]] = {}
    names: dict[tuple[int, int], set[str]] = {}
    for name, node, inode in _walk(os.fsencode(top), b""):
        found[name] = (node, inode)
        names.setdefault(inode, set()).add(name)
    return {
        name: node._replace(same=frozenset(names[inode] - {name}))
        for name, (node, inode) in sorted(found.items())
    }


def _walk(top: bytes, name: bytes) -> Iterator[tuple[str, Node, tuple[int, int]]]:
    path = os.path.join(top, name) if name else top
    status = os.lstat(path)
    mode, inode = stat.S_IMODE(status.st_mode), (status.st_dev, status.st_ino)
    shown = os.fsdecode(name) or "."
    if stat.S_ISLNK(status.st_mode):
        yield shown, Node("link", 0, os.readlink(path)), inode
    elif stat.S_ISREG(status.st_mode):
        yield shown, Node("file", mode, _content(path, mode)), inode
    elif stat.S_ISDIR(status.st_mode):
        yield shown, Node("directory", mode), inode
        if mode & 0o500 != 0o500 and os.geteuid():
            os.chmod(path, 0o700)
        children = sorted(os.listdir(path))
        for child in children:
            yield from _walk(top, os.path.join(name, child))
        if mode & 0o500 != 0o500 and os.geteuid():
            os.chmod(path, mode)
    else:
        yield shown, Node(f"special {stat.S_IFMT(status.st_mode):o}", mode), inode


def _content(path: bytes, mode: int) -> bytes:
    unreadable = not mode & 0o400 and os.geteuid()
    if unreadable:
        os.chmod(path, 0o400)
    with open(path, "rb") as opened:
        content = opened.read()
    if unreadable:
        os.chmod(path, mode)
    return content


class Canary:
    """A directory outside the store that no image may change, not even its link counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "sub").mkdir(parents=True)
        (path / "f").write_bytes(b"canary")
        (path / "f").chmod(0o640)
        (path / "sub" / "g").write_bytes(b"another")
        self._before = self._state()

    def __str__(self) -> str:
        return str(self.path)

    def assert_unchanged(self) -> None:
        assert self._state() == self._before

    def _state(self) -> list[tuple[str, int, int, int, bytes]]:
        places = sorted([self.path, *self.path.rglob("*")])
        states = []
        for place in places:
            found = place.lstat()
            content = place.read_bytes() if stat.S_ISREG(found.st_mode) else b""
            states.append((str(place), found.st_mode, found.st_nlink, found.st_mtime_ns, content))
        return states

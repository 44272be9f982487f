"""A tree as a list of tar entries, and as the bytes of one tar.

The order is that of names as bytes, a directory before what is in it, and of a file's several names
the first is the file: it depends on nothing but the tree, so the same tree gives the same bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from cwl_userspace.errors import StoreError
from cwl_userspace.image import tar
from cwl_userspace.image.confine import split
from cwl_userspace.image.contents import Journal, crc32
from cwl_userspace.image.tarwriter import END, content_of, member, size_of


def walk(root: bytes) -> Iterator[tuple[tar.Entry, bytes]]:
    """Every file, directory and link of a tree with its path on this host, the root first.

    Names are relative and never begin with a slash; that of the root is ``./``. What no layer can
    hold (pipes, sockets, devices) is left out. Raise StoreError for a directory that is closed.
    """
    linked: dict[tuple[int, int], bytes] = {}
    waiting = [b""]
    while waiting:
        name = waiting.pop()
        path = os.path.join(root, name) if name else root
        found = os.lstat(path)
        mode, mtime = stat.S_IMODE(found.st_mode), found.st_mtime_ns // 1_000_000_000
        if stat.S_ISDIR(found.st_mode):
            shown = name + b"/" if name else b"./"
            yield tar.Entry(tar.DIRECTORY, shown, b"", mode, 0, mtime), path
            waiting += sorted((os.path.join(name, n) for n in _names(path)), reverse=True)
        elif stat.S_ISLNK(found.st_mode):
            yield tar.Entry(tar.SYMLINK, name, os.readlink(path), 0o777, 0, mtime), path
        elif stat.S_ISREG(found.st_mode):
            first = name
            if found.st_nlink > 1:
                first = linked.setdefault((found.st_dev, found.st_ino), name)
            if first == name:
                yield tar.Entry(tar.REGULAR, name, b"", mode, found.st_size, mtime), path
            else:
                yield tar.Entry(tar.HARD_LINK, name, first, mode, 0, mtime), path


def tree_bytes(rootfs: str, exact: bool = False, made_here: Sequence[str] = ()) -> Iterator[bytes]:
    """The bytes of a tree as one tar; raise StoreError for what cannot be read.

    Times are whole seconds, as in layers, or ``exact``. A link whose target begins with one of the
    paths ``made_here`` of the tree leads to the rest of that: under fakechroot, every link to
    ``/lib`` is made as one to ``TREE/lib``.
    """
    places = [os.fsencode(path) for path in made_here]
    for entry, path in walk(os.fsencode(rootfs)):
        for place in places:
            if entry.link.startswith(place + b"/"):
                entry.link = entry.link[len(place) :]
        if exact:
            entry.mtime = os.lstat(path).st_mtime_ns / 1e9
        yield from member(entry, content_of(path))
    yield END


def tree_size(rootfs: str) -> int:
    """How many bytes ``tree_bytes`` gives, without a look into any file."""
    return sum(size_of(entry) for entry, _ in walk(os.fsencode(rootfs))) + len(END)


def journal_of(rootfs: str) -> bytes:
    """A record (image/contents.py) of a tree as it is; raise StoreError for what cannot be read."""
    journal = Journal()
    journal.layer()
    for entry, path in walk(os.fsencode(rootfs)):
        place = split(entry.name)
        if entry.kind == tar.DIRECTORY:
            journal.directory(place, entry.mode, entry.mtime)
        elif entry.kind == tar.SYMLINK:
            journal.link(place, entry.link, entry.mtime)
        elif entry.kind == tar.HARD_LINK:
            journal.hard_link(place, split(entry.link))
        else:
            crc = 0
            for piece in content_of(path):
                crc = crc32(piece, crc)
            journal.file(place, entry.mode, entry.size, entry.mtime, crc)
    return journal.packed()


def _names(directory: bytes) -> list[bytes]:
    try:
        return os.listdir(directory)
    except PermissionError:
        raise StoreError(
            f"the directory {os.fsdecode(directory)} is closed to its owner by its mode",
            "do it as root, or where there are user namespaces",
        ) from None

"""A file or a tree as entries of a tar, each with its content."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator

from cwl_userspace.errors import UserspaceError
from cwl_userspace.image import tar
from cwl_userspace.image.confine import MakeDirectory, Missing, Parts, Walked
from cwl_userspace.image.trail import Trail
from cwl_userspace.transfer.place import Place, failure

HERE = b"."
# What is kept of a mode.
BITS = 0o1777
Identity = tuple[int, int]
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20


def entries(
    source: Place, name: bytes, leave_out: Callable[[Identity], bool]
) -> Iterator[tuple[tar.Entry, Iterable[bytes]]]:
    """A file, or a tree in the order of names; ``name`` is what it is called, ``.`` for its inside.

    Each content has to be taken before the next entry. Pipes, sockets and devices are left out, and
    directories of which ``leave_out`` is true.
    """
    try:
        yield from _walk(source, name, leave_out)
    except OSError as error:
        raise _unread(error, source.shown) from None


def _walk(
    source: Place, name: bytes, leave_out: Callable[[Identity], bool]
) -> Iterator[tuple[tar.Entry, Iterable[bytes]]]:
    linked: dict[Identity, bytes] = {}
    trail = Trail(source.root, MakeDirectory())
    waiting: list[Parts] = [()]
    try:
        while waiting:
            below = waiting.pop()
            *head, last = (*source.parts, *below) or (HERE,)
            try:
                parent = trail.go(tuple(head))
                found = os.lstat(last, dir_fd=parent.fd)
            except (FileNotFoundError, Missing):  # removed since its directory was read
                continue
            shown = b"/".join((name, *below))
            mode, mtime = stat.S_IMODE(found.st_mode) & BITS, found.st_mtime_ns / 1e9
            identity = (found.st_dev, found.st_ino)
            if stat.S_ISDIR(found.st_mode):
                if below and leave_out(identity):
                    continue
                yield tar.Entry(tar.DIRECTORY, shown + b"/", b"", mode, 0, mtime), ()
                waiting += [(*below, inner) for inner in _names(parent, last)]
            elif stat.S_ISLNK(found.st_mode):
                target = os.readlink(last, dir_fd=parent.fd)
                yield tar.Entry(tar.SYMLINK, shown, target, 0o777, 0, mtime), ()
            elif stat.S_ISREG(found.st_mode):
                first = linked.setdefault(identity, shown) if found.st_nlink > 1 else shown
                if first != shown:
                    yield tar.Entry(tar.HARD_LINK, shown, first, mode, 0, mtime), ()
                    continue
                entry = tar.Entry(tar.REGULAR, shown, b"", mode, found.st_size, mtime)
                yield entry, _content(parent, last, found.st_size)
    finally:
        trail.forget()


def _names(parent: Walked, name: bytes) -> list[bytes]:
    """The names in a directory, the last first."""
    fd = os.open(name, _READ | os.O_DIRECTORY, dir_fd=parent.fd)
    try:
        return sorted(map(os.fsencode, os.listdir(fd)), reverse=True)
    finally:
        os.close(fd)


def _content(parent: Walked, name: bytes, size: int) -> Iterator[bytes]:
    """As many bytes of a regular file as it had; one that grows has more by now."""
    try:
        fd = os.open(name, _READ, dir_fd=parent.fd)
    except OSError as error:
        raise _unread(error, os.fsdecode(name)) from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise failure(f"{os.fsdecode(name)!r} is no longer a file", "try again")
        while size and (chunk := os.read(fd, min(size, _CHUNK))):
            size -= len(chunk)
            yield chunk
    finally:
        os.close(fd)


def _unread(error: OSError, shown: str) -> UserspaceError:
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else shown
    return failure(
        f"{name!r} cannot be read: {str(error.strerror).lower()}", "see who may read it with ls -l"
    )

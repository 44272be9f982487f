"""Names inside a root: every step of a path is taken from an open directory, none follows a link.

A tree is built from text that cannot be trusted, so no path is ever handed to the kernel whole.
Symbolic links in the middle of a path are resolved here, as if the tree were ``/``; ``..`` stops
at the top (what umoci, containerd and moby do; HARDENING cases of the class "write through").
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator

from cwl_userspace.errors import LayerError

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
WALK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NOT_A_DIRECTORY = (errno.ELOOP, errno.ENOTDIR)
_LINK_LIMIT = 40
_STEP_LIMIT = 10_000  # what any path of 4000 bytes needs, and a link or two of that length
_DEPTH_LIMIT = 100

Parts = tuple[bytes, ...]


def split(path: bytes) -> Parts:
    """The steps of a path, cleaned as text: no empty step, no ``.``, ``..`` stops at the top."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part and part != b".":
            parts.append(part)
    return tuple(parts)


class Missing(Exception):
    """A step of a path does not exist, and was not to be made."""


class Root:
    """An open directory below which names are resolved. Close it after use."""

    def __init__(self, path: str | bytes) -> None:
        self.fd = os.open(path, WALK & ~os.O_NOFOLLOW)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)

    def open_directory(self, parts: Iterable[bytes], make: MakeDirectory | None) -> Walked:
        """Open a directory; resolve links in it; make what is missing, if ``make`` is given.

        Raise Missing where a step does not exist or is not a directory and nothing is to be
        made, LayerError for a chain of links without an end or with far too many steps.
        """
        todo = list(parts)[::-1]
        walked = Walked(os.dup(self.fd), ())
        links = steps = 0
        try:
            while todo:
                part = todo.pop()
                steps += 1
                if steps > _STEP_LIMIT:
                    raise LayerError(
                        f"the way to {part!r:.80} has more than {_STEP_LIMIT} steps",
                        "the image is hostile",
                    )
                if part == b"..":
                    todo.extend(walked.parts[-2::-1] if len(walked.parts) > 1 else ())
                    walked.replace(os.dup(self.fd), ())
                    continue
                target = _step(walked, part, make)
                if target is None:
                    continue
                links += 1
                if links > _LINK_LIMIT:
                    raise LayerError(f"too many symbolic links at {part!r}", "expected at most 40")
                todo.extend(p for p in target.split(b"/")[::-1] if p and p != b".")
                if target.startswith(b"/"):
                    walked.replace(os.dup(self.fd), ())
        except BaseException:
            walked.close()
            raise
        return walked


class Walked:
    """A directory that was reached: its descriptor, and its real place below the root."""

    __slots__ = ("fd", "parts")

    def __init__(self, fd: int, parts: Parts) -> None:
        self.fd = fd
        self.parts = parts

    def replace(self, fd: int, parts: Parts) -> None:
        """Go elsewhere; the descriptor held so far is closed."""
        os.close(self.fd)
        self.fd, self.parts = fd, parts

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


class MakeDirectory:
    """What to do with a step that is missing, or that is a file where a directory must be."""

    def missing(self, walked: Walked, part: bytes) -> None:
        """Make the directory ``part`` in ``walked``."""
        raise Missing

    def blocked(self, walked: Walked, part: bytes) -> None:
        """Remove what stands in the way of the directory ``part``."""
        raise Missing


def _step(walked: Walked, part: bytes, make: MakeDirectory | None) -> bytes | None:
    """Enter ``part``, or return the text of the link that it is."""
    while True:
        try:
            walked.replace(os.open(part, WALK, dir_fd=walked.fd), (*walked.parts, part))
            return None
        except FileNotFoundError:
            if make is None:
                raise Missing from None
            make.missing(walked, part)
        except OSError as error:
            if error.errno not in NOT_A_DIRECTORY:
                raise
            try:
                return os.readlink(part, dir_fd=walked.fd)
            except OSError:
                if make is None:
                    raise Missing from None
                make.blocked(walked, part)


def remove(name: bytes | str, dir_fd: int) -> bool:
    """Remove a file, link or whole tree, whatever its modes; return True if it was a directory.

    Nothing is followed and nothing outside is touched. A name that is not there is no error.
    """
    try:
        os.unlink(name, dir_fd=dir_fd)
        return False
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        if not stat.S_ISDIR(os.lstat(name, dir_fd=dir_fd).st_mode):
            raise
    _remove_directory(os.fsencode(name), dir_fd)
    return True


def _remove_directory(name: bytes, dir_fd: int) -> None:
    """Empty and remove a directory, however deep it is: neither frames nor descriptors run out."""
    _make_accessible(name, dir_fd)
    top = os.open(name, _OPEN_DIRECTORY, dir_fd=dir_fd)
    try:
        while _remove_children(top, top, _DEPTH_LIMIT):
            pass
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=dir_fd)


def _remove_children(fd: int, top: int, depth: int) -> bool:
    """Empty a directory; True if what lies below ``depth`` was moved to ``top`` for another go."""
    moved = False
    for child, is_directory in children(fd):
        if not is_directory:
            try:
                os.unlink(child, dir_fd=fd)
            except FileNotFoundError:  # a tree's mark may go by itself: see store/unsynced.py
                pass
            continue
        _make_accessible(child, fd)
        if depth == 0:
            aside = b".removing-" + os.urandom(8).hex().encode()
            os.rename(child, aside, src_dir_fd=fd, dst_dir_fd=top)
            moved = True
            continue
        inner = os.open(child, _OPEN_DIRECTORY, dir_fd=fd)
        try:
            moved |= _remove_children(inner, top, depth - 1)
        finally:
            os.close(inner)
        os.rmdir(child, dir_fd=fd)
    return moved


def _make_accessible(name: bytes, dir_fd: int) -> None:
    """Give ourselves all rights to a directory; chmod by name is safe in a tree that we own."""
    if os.lstat(name, dir_fd=dir_fd).st_mode & 0o700 != 0o700:
        # Another user's may be open to our group, whatever it is to him.
        try:
            os.chmod(name, 0o700, dir_fd=dir_fd)
        except PermissionError:
            pass


def children(fd: int) -> Iterator[tuple[bytes, bool]]:
    """The names in an open directory, and whether each is itself a directory."""
    with os.scandir(fd) as found:
        names = [(os.fsencode(e.name), e.is_dir(follow_symlinks=False)) for e in found]
    yield from names


def remove_tree(path: str) -> None:
    """Remove a whole tree by its path; one that is not there is no error."""
    parent, name = os.path.split(os.path.abspath(path))
    try:
        fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove(name, fd)
    finally:
        os.close(fd)

"""A path of a container, looked up below its root."""

from __future__ import annotations

import os
import stat

from cwl_userspace.errors import LayerError, UserspaceError
from cwl_userspace.image.confine import Missing, Parts, Root, Walked, split

_LINK_LIMIT = 40


class Place:
    """A name below a root: where it really is, and what is there; ``mode`` is 0 for nothing."""

    __slots__ = ("mode", "parts", "root", "shown")

    def __init__(self, root: Root, parts: Parts, mode: int, shown: str) -> None:
        self.root = root
        self.parts = parts
        self.mode = mode
        self.shown = shown

    @property
    def is_directory(self) -> bool:
        """True for a directory, and not for a link to one."""
        return stat.S_ISDIR(self.mode)


def find(root: Root, path: bytes, follow: bool, shown: str) -> Place:
    """Look a path up below a root; a link that is its last step is followed only if so asked.

    Raise UserspaceError, with exit code 1, where the directory of that name is not there.
    """
    steps = split(path)
    for _ in range(_LINK_LIMIT):
        if not steps:
            return Place(root, (), os.stat(root.fd).st_mode, shown)
        try:
            parent = root.open_directory(steps[:-1], None)
        except (Missing, LayerError):
            raise failure(f"no directory for {shown!r}", "look at it with ls") from None
        try:
            name = steps[-1]
            if name == b"..":
                steps = parent.parts[:-1]
                continue
            mode = mode_of(parent, name)
            if not (follow and stat.S_ISLNK(mode)):
                return Place(root, (*parent.parts, name), mode, shown)
            target = os.readlink(name, dir_fd=parent.fd)
            before = () if target.startswith(b"/") else parent.parts
            steps = (*before, *(part for part in target.split(b"/") if part not in (b"", b".")))
        finally:
            parent.close()
    raise failure(f"{shown!r} is a circle of links", "name a file or a directory")


def failure(message: str, hint: str) -> UserspaceError:
    """An error of the files, and not of the command: exit code 1, as Docker has it."""
    error = UserspaceError(message, hint)
    error.exit_code = 1
    return error


def mode_of(parent: Walked, name: bytes) -> int:
    """The mode of a name in an open directory; 0 if it is not there."""
    try:
        return os.lstat(name, dir_fd=parent.fd).st_mode
    except FileNotFoundError:
        return 0

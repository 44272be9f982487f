"""A private view of a stored tree: what a container's root is put together from.

Where the kernel gives us no overlay, the root is a private directory into which the tree's parts
are bound. A directory that must have something that the tree does not have (a mount point, say)
is made anew and its other entries are bound into it one by one, so that the tree is never
written to. Nothing is changed here: the tree is read, and a value is returned.
"""

from __future__ import annotations

import os
import posixpath

from cwl_userspace.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LINK_LIMIT = 40


class View:
    """Where each place in the container comes from; paths in the container are absolute."""

    __slots__ = ("_binds", "_expanded", "_left_out", "_rootfs")

    def __init__(self, rootfs: str) -> None:
        self._rootfs = rootfs
        self._binds: dict[str, str] = {}
        self._expanded: set[str] = {"/"}
        self._left_out: set[str] = set()

    def resolve(self, path: str) -> str:
        """A path with every link resolved inside the container; a missing rest stays as it is."""
        done = "/"
        todo = [part for part in path.split("/") if part][::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part in (".", ".."):
                done = posixpath.dirname(done) if part == ".." else done
                continue
            here = posixpath.join(done, part)
            target = _read_link(self.host(here))
            if target is None:
                done = here
                continue
            links += 1
            if links > _LINK_LIMIT:
                raise EngineError(f"too many symbolic links at {path!r}", "the image is damaged")
            todo.extend(target.split("/")[::-1])
            if target.startswith("/"):
                done = "/"
        return done

    def host(self, path: str) -> str:
        """Where on the host a place in the container lies; links in the path are not followed."""
        above = path
        while above not in self._binds:
            if above == "/":
                return self._rootfs + path
            above = posixpath.dirname(above)
        return self._binds[above] + path[len(above.rstrip("/")) :]

    def covered(self, path: str) -> bool:
        """True if a place lies below a bind, so that its parent is not the tree's."""
        above = posixpath.dirname(path)
        while above != "/":
            if above in self._binds:
                return True
            above = posixpath.dirname(above)
        return False

    def bind(self, path: str, source: str, directory: bool) -> None:
        """Have ``source`` of the host at a resolved place, which the view makes room for."""
        if not self.covered(path) and not _same_kind(self._rootfs + path, directory):
            self.expand(posixpath.dirname(path))
        self._binds[path] = source

    def expand(self, path: str) -> None:
        """Have a directory, and all above it, be private: what it lacks can be made there."""
        while path not in self._expanded:
            self._expanded.add(path)
            path = posixpath.dirname(path)

    def leave_out(self, path: str) -> None:
        """Have nothing of the tree at a place, whose parent is resolved: it is made otherwise."""
        self.expand(posixpath.dirname(path))
        self._left_out.add(path)

    def parts(self) -> dict[str, Any]:
        """The private directories, links and tree parts that make the root, parents first.

        ``binds`` are the places that show the tree's own part; what was asked for is not among
        them.
        """
        links: list[tuple[str, str]] = []
        binds: list[str] = []
        for directory in sorted(self._expanded):
            for name in _entries(self._rootfs + directory):
                here = posixpath.join(directory, name)
                if here in self._expanded or here in self._binds or here in self._left_out:
                    continue
                target = _read_link(self._rootfs + here)
                if target is not None:
                    links.append((here, target))
                else:
                    binds.append(here)
        return {"directories": sorted(self._expanded), "links": links, "binds": binds}


def _same_kind(place: str, directory: bool) -> bool:
    """True if a place of the tree can be covered as it is: it is there, and of the same kind."""
    if os.path.islink(place) or not os.path.lexists(place):
        return False
    return os.path.isdir(place) == directory


def _entries(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _read_link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None

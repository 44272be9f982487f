"""A private view of a stored tree: what a container's root is put together from.

Where the kernel gives us no overlay, the root is a private directory into which the tree's parts
are bound. A directory that must have something that the tree does not have (a mount point, say)
is made anew and its other entries are bound into it one by one, so that the tree is never
written to. Nothing is changed here: the tree is read, and a value is returned.
"""

from __future__ import annotations

import os
import posixpath
import re

from cwl_userspace.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LINK_LIMIT = 40
# To lay an overlay over a directory costs as much as to bind about so many entries.
_MANY = 12
# Names that may stand in the options of an overlay, where a comma or colon has a meaning.
_PLAIN = re.compile(r"(/[\w.-]+)+", re.ASCII)


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

    def parts(self, merge: bool = False) -> dict[str, Any]:
        """The private directories, links and tree parts that make the root, parents first.

        ``binds`` are the places that show the tree's own part; what was asked for is not among
        them. With ``merge`` there are also directories in which much would have to be bound for
        the sake of a few files of ours, as in /etc, and over which an overlay can be laid instead:
        ``merged`` has for each its path, and the links and binds that do the same.
        """
        shown: dict[str, Any] = {"links": [], "binds": []}
        merged = []
        for directory in sorted(self._expanded):
            links, binds = self._shown(directory)
            if merge and len(links) + len(binds) >= _MANY and self._can_be_merged(directory):
                merged.append({"path": directory, "links": links, "binds": binds})
            else:
                shown["links"] += links
                shown["binds"] += binds
        return {"directories": sorted(self._expanded), **shown, "merged": merged}

    def _shown(self, directory: str) -> tuple[list[tuple[str, str]], list[str]]:
        """The links of a private directory, and what of the tree is bound into it."""
        links: list[tuple[str, str]] = []
        binds: list[str] = []
        for name, target in _entries(self._rootfs + directory):
            here = posixpath.join(directory, name)
            if here in self._expanded or here in self._binds or here in self._left_out:
                continue
            if target is not None:
                links.append((here, target))
            else:
                binds.append(here)
        return links, binds

    def _can_be_merged(self, directory: str) -> bool:
        """True where nothing is to be made in a directory but files in place of the tree's."""
        others = self._expanded - {directory} | self._binds.keys()
        return (
            _PLAIN.fullmatch(directory) is not None
            and not any(place.startswith(directory + "/") for place in others)
            and not any(_same_kind(self._rootfs + place, True) for place in self._left_out)
        )


def _same_kind(place: str, directory: bool) -> bool:
    """True if a place of the tree can be covered as it is: it is there, and of the same kind."""
    if os.path.islink(place) or not os.path.lexists(place):
        return False
    return os.path.isdir(place) == directory


def _entries(directory: str) -> list[tuple[str, str | None]]:
    """The names in a directory, each with where it leads if it is a link."""
    try:
        with os.scandir(directory) as found:
            return sorted((e.name, os.readlink(e.path) if e.is_symlink() else None) for e in found)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _read_link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None

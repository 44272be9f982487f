"""What a layer hides of the layers below it (OCI image specification, layer.md, "Whiteouts").

A marker hides what lower layers have; what its own layer has made stays, whether it came before
the marker or comes after it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection

from cwl_userspace.errors import LayerError
from cwl_userspace.image import tar
from cwl_userspace.image.confine import WALK, Missing, Parts, Root, Walked, children

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
RESERVED = b".wh..wh."
_DEPTH_LIMIT = 100  # of directories that are open at once


def check(name: bytes, data: tar.Bytes, whiteouts: bool) -> None:
    """Raise LayerError for a marker that names nothing, or that has no business where it is."""
    if not whiteouts:
        raise LayerError(
            f"{data.what} holds {name!r:.80}, which only a layer of an image has a use for",
            "make the tar again without it (tar --exclude='.wh.*')",
        )
    if name[len(PREFIX) :] in (b"", b".", b".."):
        raise LayerError(
            f"{data.what} has the whiteout {name!r}, which names nothing",
            "the image is hostile",
        )


class Whiteouts:
    """The markers of one layer. ``touched`` are the places that it has made itself so far."""

    def __init__(
        self, root: Root, touched: Collection[Parts], remove: Callable[[Walked, bytes], None]
    ) -> None:
        self._root = root
        self._touched = touched
        self._remove = remove
        self._purged: set[Parts] = set()

    def hide(self, directory: Parts, name: bytes) -> None:
        """Do what the marker ``name`` in a directory says; nothing where that is not there."""
        if name.startswith(RESERVED) and name != OPAQUE:
            return  # AUFS kept its own files under such names
        try:
            parent = self._root.open_directory(directory, None)
        except Missing:
            return
        place = parent.parts
        try:
            if place in self._purged:
                return
            if name == OPAQUE:
                self._clear(place)
            else:
                self._purge(parent, name[len(PREFIX) :])
        finally:
            parent.close()

    def _purge(self, parent: Walked, name: bytes) -> None:
        """Remove a name, unless this layer made it; of a directory it made, the lower part."""
        place = (*parent.parts, name)
        if place not in self._touched:
            self._remove(parent, name)
            return
        try:
            found = os.lstat(name, dir_fd=parent.fd)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            self._clear(place)

    def _clear(self, place: Parts) -> None:
        """Remove what lower layers have in a directory, however deep this layer has a part in it.

        Once is enough in a layer, since nothing can come from below any more; so a flood of opaque
        markers is no flood of looks at a large directory.
        """
        waiting = [place]
        while waiting:
            directory = self._root.open_directory(waiting.pop(), None)
            try:
                waiting += self._clear_open(directory, _DEPTH_LIMIT)
            finally:
                directory.close()

    def _clear_open(self, directory: Walked, depth: int) -> list[Parts]:
        """The same for an open directory; what lies below ``depth`` is returned for another go."""
        if directory.parts in self._purged:
            return []
        if not depth:
            return [directory.parts]
        self._purged.add(directory.parts)
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory.fd)
        try:
            found = list(children(fd))
        finally:
            os.close(fd)
        later: list[Parts] = []
        for child, is_directory in found:
            place = (*directory.parts, child)
            if place not in self._touched:
                self._remove(directory, child)
            elif is_directory:
                inner = Walked(os.open(child, WALK, dir_fd=directory.fd), place)
                try:
                    later += self._clear_open(inner, depth - 1)
                finally:
                    inner.close()
        return later

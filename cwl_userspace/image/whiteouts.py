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
from cwl_userspace.image.confine import Missing, Parts, Root, Walked, children

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
RESERVED = b".wh..wh."


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
            if any(place[:depth] in self._purged for depth in range(len(place) + 1)):
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
            place = waiting.pop()
            if place not in self._purged:
                self._purged.add(place)
                waiting += self._clear_one(place)

    def _clear_one(self, place: Parts) -> list[Parts]:
        """The same for what is in the directory itself; the directories that stay there."""
        stay = []
        directory = self._root.open_directory(place, None)
        try:
            fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory.fd)
            try:
                for child, is_directory in children(fd):
                    inner = (*place, child)
                    if inner not in self._touched:
                        self._remove(directory, child)
                    elif is_directory:
                        stay.append(inner)
            finally:
                os.close(fd)
        finally:
            directory.close()
        return stay

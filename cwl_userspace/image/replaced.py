"""What a layer replaces or hides of the layers below it, kept beside the tree.

With it, and with the record of the tree (image/contents.py), what the lower layers alone hold can
be had again, for another image that begins with the same layers: a tree has all the rest. It is
little, as a rule: a package manager's lists, a cache of the linker.
"""

from __future__ import annotations

import os
import stat

from cwl_userspace.image.confine import remove_tree

# Of what was unpacked, by number and by size, no more than this part is kept; a little always is.
_PART = 25
_FILES, _BYTES = 32, 256 << 10
_BLOCK = 4096  # what the smallest file takes


class Replaced:
    """A directory for what is replaced, made when it is wanted first.

    What is in it has the name of its removal in the record. ``files`` and their ``size`` in bytes
    are those of the tree that another one begins with, which may have left something here.
    """

    def __init__(self, path: str, files: int = 0, size: int = 0) -> None:
        self._path = path
        self._before = (files, size)
        self._files = self._bytes = 0
        self._is_new = True

    def keep(self, name: bytes, dir_fd: int, removal: str, files: int, size: int) -> bool:
        """Move a file, link or directory here, if the name is not free; True for a directory.

        It is removed instead if all that is here were too much beside the ``files``, and their
        ``size`` in bytes, that were unpacked so far.
        """
        if self._is_new:
            self._make()
        place = os.path.join(self._path, removal)
        try:
            os.rename(name, place, src_dir_fd=dir_fd)
        except FileNotFoundError:
            return False
        most = (
            max((self._before[0] + files) // _PART, _FILES),
            max((self._before[1] + size) // _PART, _BYTES),
        )
        before = self._files, self._bytes
        fits, is_directory = self._count(place, most)
        if not fits:
            remove_tree(place)
            self._files, self._bytes = before
        return is_directory

    def _make(self) -> None:
        try:
            os.mkdir(self._path, 0o700)
        except FileExistsError:  # by the tree that this one begins with
            self._count(self._path)
        self._is_new = False

    def _count(self, place: str, most: tuple[int, int] | None = None) -> tuple[bool, bool]:
        """Count what is at a place; if that is not too much nor too deep, and if a directory."""
        waiting = [place]
        is_directory = False
        try:
            while waiting:
                path = waiting.pop()
                found = os.lstat(path)
                self._files += 1
                self._bytes += max(found.st_size, _BLOCK)
                if most is not None and (self._files > most[0] or self._bytes > most[1]):
                    return False, stat.S_ISDIR(os.lstat(place).st_mode)
                if stat.S_ISDIR(found.st_mode):
                    is_directory = True
                    waiting += [os.path.join(path, inner) for inner in os.listdir(path)]
        except OSError:
            return False, is_directory
        return True, is_directory

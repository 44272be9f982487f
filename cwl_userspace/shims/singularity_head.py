"""The first files of an archive, as far as they are whole: where ours have their documents.

So a file of some gigabytes whose image the store has need not be read.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator

from cwl_userspace.errors import ImageNotFound, LayerError
from cwl_userspace.image import tar

_SIZE = 1 << 20
_MOST = 32


class Head:
    """Files by name (image/files.py), none of which begins later than a megabyte into the file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._found: dict[str, bytes] = {}
        with open(path, "rb") as file:
            head = file.read(_SIZE)
        data = tar.Bytes([head], path)
        try:
            for entry in tar.entries(data):
                content = head[data.position : data.position + entry.size]
                if len(content) < entry.size or len(self._found) == _MOST:
                    break
                if entry.kind == tar.REGULAR:
                    name = posixpath.normpath(os.fsdecode(entry.name))
                    self._found.setdefault(name, content)
        except LayerError:
            return  # no tar, or one that goes on

    @property
    def label(self) -> str:
        """How messages name the place."""
        return self._path

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a file; raise ImageNotFound if it is not among the first."""
        if name not in self._found:
            raise ImageNotFound(f"{self._path} does not begin with {name!r:.80}", "read all of it")
        yield self._found[name]

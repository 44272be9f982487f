"""A bound on what an image may unpack to: a megabyte of zeros packed well is a full disk.

What is counted is what costs: the bytes of the layers as they come out, the holes of sparse files
(whoever copies one may write them), and for each file and directory what any takes at least.
It is looked at once a chunk, so an image is stopped a chunk late and nothing is slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cwl_userspace.errors import LayerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cwl_userspace.image.layers import Tree

_LEAST = 4096
# Of names that have to be remembered while a tree is built: a few hundred megabytes of memory.
_MEMORY_LIMIT = 1 << 26


class Bound:
    """Watches the layers of one image go into ``tree``: ``limit`` bytes in all, 0 for any."""

    def __init__(self, tree: Tree, limit: int) -> None:
        self._tree = tree
        self._limit = limit
        self._passed = 0

    def watched(self, chunks: Iterable[bytes], what: str) -> Iterator[bytes]:
        """The same chunks; raise LayerError once the image is beyond its bound."""
        for chunk in chunks:
            self._passed += len(chunk)
            self._check(what)
            yield chunk
        self._check(what)

    def _check(self, what: str) -> None:
        tree = self._tree
        if self._limit and self._passed + tree.holes + _LEAST * tree.made > self._limit:
            raise beyond(what, self._limit)
        if tree.remembered > _MEMORY_LIMIT:
            raise LayerError(
                f"{what} has more names than can be kept in mind", "the image is hostile"
            )


def beyond(what: str, limit: int) -> LayerError:
    """The error for an image or an archive that unpacks to more than it may."""
    return LayerError(
        f"{what} brings the image beyond the {_shown(limit)} that one may unpack to",
        "if you trust it, raise the setting unpacked_limit",
    )


def _shown(size: int) -> str:
    """A number of bytes as people write it, rounded where it has to be."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} bytes"

"""Inflate gzip of any number of members (RFC 1952, 2.2), each checked by its CRC and its length.

Three things are peculiar here. igzip misreads a header whose optional fields come in two pieces, so
a header is always shown to it whole. Both libraries copy what follows a member, so a flood of empty
ones would copy a chunk for each: after a short member only a little is shown. And igzip's imitation
of zlib's interface leaves holes in the heap that grow with the input, 120 MB for one of 1 GB, so
its other interface is used, which keeps the input that it has not read yet.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

from cwl_userspace.errors import LayerError


class _Zlib:
    """zlib in the words of igzip, bz2 and lzma."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(wbits=31)
        self.needs_input = True

    def decompress(self, data: bytes, limit: int) -> bytes:
        plain = self._inflater.decompress(self._inflater.unconsumed_tail or data, limit)
        self.needs_input = not self._inflater.unconsumed_tail and len(plain) < limit
        return plain

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data


new_inflater: Callable[[], Any]
try:  # igzip inflates twice as fast as zlib; wheels exist for the common platforms only.
    from isal import igzip_lib

    def new_inflater() -> Any:
        return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
except ImportError:
    new_inflater = _Zlib

_PIECE = 1 << 20
_HEADER = 1 << 14  # no program writes more than a name, a comment and a few bytes of its own
_PADDING = 512


def gunzip(stream: Iterator[bytes], what: str) -> Iterator[bytes]:
    """The plain bytes, in bounded pieces; raise LayerError if the last member is cut short.

    Raise what the library raises for damage.
    """
    inflater: Any = None
    shown = _PIECE
    used = 0
    for chunk in stream:
        data = memoryview(chunk)
        while data:
            if inflater is None:
                data = _at_header(data, stream)
                if not data:
                    break
                inflater = new_inflater()
                used = 0
            window = data[:shown]
            yield from _pieces(inflater, window)
            rest = len(inflater.unused_data) if inflater.eof else 0
            used += len(window) - rest
            data = data[len(window) - rest :]
            shown = _PIECE
            if inflater.eof:
                inflater = None
                shown = max(_HEADER, 4 * used)
    if inflater is not None:
        yield from _pieces(inflater, b"")
        if not inflater.eof:
            raise LayerError(f"{what} is cut short", "fetch the image again")


def _pieces(inflater: Any, data: bytes | memoryview) -> Iterator[bytes]:
    """All that comes of some input, or of what the inflater holds still."""
    while True:
        piece = inflater.decompress(data, _PIECE)
        if piece:
            yield piece
        data = b""
        if inflater.eof or (inflater.needs_input and len(piece) < _PIECE):
            return


def _at_header(data: memoryview, stream: Iterator[bytes]) -> memoryview:
    """The data without the zeros that may lie between members, and with a whole header in it."""
    while data and not data[0]:
        head = bytes(data[:_PADDING])
        data = data[len(head) - len(head.lstrip(b"\0")) :]
    while 0 < len(data) < _HEADER and (more := next(stream, None)) is not None:
        data = memoryview(bytes(data) + more)
    return data

"""Inflate gzip of any number of members (RFC 1952, 2.2), each checked by its CRC and its length.

Two things are peculiar here. igzip misreads a header whose optional fields come in two pieces, so a
header is always shown to it whole. And both libraries copy what follows a member, so a flood of
empty ones would copy a chunk for each: after a short member only a little is shown.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from cwl_userspace.errors import LayerError

try:  # igzip inflates twice as fast as zlib; wheels exist for the common platforms only.
    from isal import isal_zlib

    fast_zlib: ModuleType = isal_zlib
except ImportError:
    fast_zlib = zlib

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
                inflater = fast_zlib.decompressobj(wbits=31)
                used = 0
            window = data[:shown]
            piece = inflater.decompress(window, _PIECE)
            if piece:
                yield piece
            rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            used += len(window) - len(rest)
            data = data[len(window) - len(rest) :]
            shown = _PIECE
            if inflater.eof:
                inflater = None
                shown = max(_HEADER, 4 * used)
    if inflater is not None:
        yield from _finish(inflater, what)


def _at_header(data: memoryview, stream: Iterator[bytes]) -> memoryview:
    """The data without the zeros that may lie between members, and with a whole header in it."""
    while data and not data[0]:
        head = bytes(data[:_PADDING])
        data = data[len(head) - len(head.lstrip(b"\0")) :]
    while 0 < len(data) < _HEADER and (more := next(stream, None)) is not None:
        data = memoryview(bytes(data) + more)
    return data


def _finish(inflater: Any, what: str) -> Iterator[bytes]:
    """What the inflater still holds once there is no more input."""
    while not inflater.eof:
        piece = inflater.decompress(b"", _PIECE)
        if not piece:
            break
        yield piece
    if not inflater.eof:
        raise LayerError(f"{what} is cut short", "fetch the image again")

"""A layer as a stream: hashed, decompressed and handed on, never whole in memory.

Each step is an iterator over bytes, so that steps are joined by calling one with another, or with
an ``Ahead`` of another, which does it in a thread of its own.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import zlib
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ContentMismatch, LayerError

try:  # igzip inflates twice as fast as zlib; wheels exist for the common platforms only.
    from isal import isal_zlib

    fast_zlib: ModuleType = isal_zlib
except ImportError:
    fast_zlib = zlib

_PIECE = 1 << 20
_ZSTD_PIECE = 1 << 11
_WINDOW = 1 << 27
_XZ_MEMORY = 1 << 28
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_XZ, _BZIP2 = b"\xfd7zXZ\x00", b"BZh"


class Checked:
    """Chunks that are hashed and counted on their way; the digest is known at the end."""

    def __init__(
        self, chunks: Iterable[bytes], expected: Digest | None, size: int | None, what: str
    ) -> None:
        self._chunks = chunks
        self._expected = expected
        self._size = size
        self._what = what
        self._hash = hashlib.sha256()
        self.length = 0

    def __iter__(self) -> Iterator[bytes]:
        """Pass the chunks on; raise ContentMismatch at the end, or once there are too many."""
        for chunk in self._chunks:
            self._hash.update(chunk)
            self.length += len(chunk)
            if self._size is not None and self.length > self._size:
                raise ContentMismatch(
                    f"{self._what} is longer than the {self._size} bytes stated",
                    "the copy is damaged",
                )
            yield chunk
        self._check()

    def _check(self) -> None:
        if self._size is not None and self.length != self._size:
            raise ContentMismatch(
                f"{self._what} has {self.length} bytes, not the {self._size} stated",
                "the copy is damaged or the transfer was cut short",
            )
        if self._expected is not None and self.digest != self._expected:
            raise ContentMismatch(
                f"{self._what} has the digest {self.digest}, not {self._expected}",
                "the copy is damaged or has been tampered with",
            )

    @property
    def digest(self) -> Digest:
        """The digest of what has passed so far."""
        return Digest(self._hash.hexdigest())


def decompressed(chunks: Iterable[bytes], what: str) -> Iterator[bytes]:
    """The plain bytes of gzip, zstd, xz, bzip2 or plain input, told apart by the first bytes.

    The media type is not asked: registries are known to hold layers under a wrong one.
    Raise LayerError for input that is damaged or ends too early.
    """
    stream = iter(chunks)
    head = b""
    for chunk in stream:
        head += chunk
        if len(head) >= 6:
            break
    try:
        yield from _decoder(head, _chain(head, stream), what)
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise LayerError(f"{what} is damaged: {error}", "fetch the image again") from None
    except Exception as error:
        if type(error).__name__ not in ("IsalError", "ZstdError"):
            raise
        raise LayerError(f"{what} is damaged: {error}", "fetch the image again") from None


def _chain(head: bytes, stream: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from stream


def _decoder(head: bytes, stream: Iterator[bytes], what: str) -> Iterator[bytes]:
    if head.startswith(_GZIP):
        return _gunzip(stream, what)
    if head.startswith(_ZSTD):
        return _unzstd(stream, what)
    if head.startswith(_XZ):
        return _inflate_members(stream, lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY), what)
    if head.startswith(_BZIP2):
        return _inflate_members(stream, bz2.BZ2Decompressor, what)
    return stream


def _gunzip(stream: Iterator[bytes], what: str) -> Iterator[bytes]:
    """Every member of a gzip file (RFC 1952, 2.2), each checked by its CRC, in bounded pieces."""
    inflater: Any = None
    for chunk in stream:
        data = chunk
        while data:
            if inflater is None:
                data = data.lstrip(b"\0")  # padding after a member
                if not data:
                    break
                inflater = fast_zlib.decompressobj(wbits=31)
            yield inflater.decompress(data, _PIECE)
            data = inflater.unconsumed_tail
            if inflater.eof:
                data, inflater = inflater.unused_data, None
    if inflater is not None:
        yield from _finish_gzip(inflater, what)


def _finish_gzip(inflater: Any, what: str) -> Iterator[bytes]:
    while not inflater.eof:
        piece = inflater.decompress(b"", _PIECE)
        if not piece:
            break
        yield piece
    if not inflater.eof:
        raise LayerError(f"{what} is cut short", "fetch the image again")


def _unzstd(stream: Iterator[bytes], what: str) -> Iterator[bytes]:
    """Every frame of a zstd file (RFC 8878); zstd:chunked adds skippable frames.

    The library's own readers take input that is cut short for its end, so each frame is followed
    here. Small pieces go in, since one of 2 KiB can come out as 64 MiB.
    """
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    frame: Any = None
    for chunk in stream:
        for start in range(0, len(chunk), _ZSTD_PIECE):
            data = chunk[start : start + _ZSTD_PIECE]
            while data:
                frame = frame or decompressor.decompressobj()
                plain = frame.decompress(data)
                for at in range(0, len(plain), _PIECE):
                    yield plain[at : at + _PIECE]
                data = b""
                if frame.eof:
                    data, frame = frame.unused_data, None
    if frame is not None:
        raise LayerError(f"{what} is cut short", "fetch the image again")


def _inflate_members(stream: Iterator[bytes], new: Any, what: str) -> Iterator[bytes]:
    decoder: Any = None
    for chunk in stream:
        data = chunk
        while data:
            decoder = decoder or new()
            yield decoder.decompress(data, _PIECE)
            while not decoder.eof and not decoder.needs_input:
                yield decoder.decompress(b"", _PIECE)
            data = b""
            if decoder.eof:
                data, decoder = decoder.unused_data.lstrip(b"\0"), None
    if decoder is not None:
        raise LayerError(f"{what} is cut short", "fetch the image again")

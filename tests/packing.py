"""Every way to pack a layer, the odd ones among them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zlib
from collections.abc import Callable

import zstandard

Pack = Callable[[bytes], bytes]

_EXTRA, _NAME, _COMMENT, _HCRC = 4, 8, 16, 2


def plain(data: bytes) -> bytes:
    """Not packed at all."""
    return data


def gzip_fields(data: bytes, flags: int = _EXTRA | _NAME | _COMMENT | _HCRC) -> bytes:
    """One member of gzip with the optional fields of its header (RFC 1952, 2.3.1)."""
    head = b"\x1f\x8b\x08" + bytes((flags,)) + bytes(4) + b"\0\xff"
    if flags & _EXTRA:
        head += struct.pack("<H", 6) + b"SG\2\0\0\0"
    head += b"name\0" if flags & _NAME else b""
    head += b"comment\0" if flags & _COMMENT else b""
    if flags & _HCRC:
        head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = raw.compress(data) + raw.flush()
    return head + body + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def zstd_frame(data: bytes, **options: bool) -> bytes:
    """One frame of zstd."""
    return zstandard.ZstdCompressor(**options).compress(data)  # type: ignore[arg-type]


def skippable(data: bytes, kind: int = 0) -> bytes:
    """A frame that zstd passes over (RFC 8878, 3.1.2): pzstd begins with one, zstd:chunked ends."""
    return struct.pack("<II", 0x184D2A50 + kind, len(data)) + data


def _half(pack: Pack, data: bytes) -> bytes:
    middle = len(data) // 2
    return pack(data[:middle]) + pack(data[middle:])


PACKINGS: dict[str, Pack] = {
    "plain": plain,
    "gzip": lambda data: gzip.compress(data, 1, mtime=0),
    "gzip stored": lambda data: gzip.compress(data, 0, mtime=0),
    "gzip of two members": lambda data: _half(gzip.compress, data),
    "gzip with an empty member": lambda data: gzip.compress(b"") + gzip.compress(data),
    "gzip padded": lambda data: gzip.compress(data) + bytes(1024),
    "gzip with FEXTRA": lambda data: gzip_fields(data, _EXTRA),
    "gzip with FHCRC": lambda data: gzip_fields(data, _HCRC),
    "gzip with all fields, twice": lambda data: _half(gzip_fields, data),
    "estargz": lambda data: gzip.compress(data) + gzip_fields(b"", _EXTRA),
    "zstd": zstd_frame,
    "zstd with a checksum": lambda data: zstd_frame(data, write_checksum=True),
    "zstd without its size": lambda data: zstd_frame(data, write_content_size=False),
    "zstd of two frames": lambda data: _half(zstd_frame, data),
    "zstd:chunked": lambda data: zstd_frame(data) + skippable(b"index", 3) + skippable(b"foot"),
    "pzstd": lambda data: _half(lambda half: skippable(b"size") + zstd_frame(half), data),
    "xz": lzma.compress,
    "xz of two streams": lambda data: _half(lzma.compress, data) + bytes(8),
    "bzip2": bz2.compress,
    "bzip2 of two streams": lambda data: _half(bz2.compress, data),
}

"""Sparse files in a tar: what GNU tar's ``--sparse`` writes, in each of its four formats.

Only the bytes between the holes are in the archive, and a *map* says where they belong: behind
the header (type ``S``), in an extended header (PAX 0.0 and 0.1) or before the bytes (PAX 1.0); GNU
tar's manual, "Storing Sparse Files". Nothing of this is imported before a sparse file comes.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Iterator

from cwl_userspace.errors import LayerError
from cwl_userspace.image import tar
from cwl_userspace.image.contents import crc32

_EXTENT_LIMIT = 1 << 18
_NUMBER_LIMIT = 1 << 53
_DIGITS = 19
_ZEROS = bytes(1 << 16)


class Map:
    """Where the stored bytes of a file belong; ``size`` is the file's own, its holes counted."""

    __slots__ = ("lengths", "offsets", "size")

    def __init__(self) -> None:
        self.offsets = array("q")
        self.lengths = array("q")
        self.size = 0

    @property
    def holes(self) -> int:
        """How many bytes of the file are not stored."""
        return self.size - sum(self.lengths)

    def add(self, offset: int, length: int, data: tar.Bytes) -> None:
        """One more extent; raise LayerError unless it begins where the last ends, or later."""
        end = self.offsets[-1] + self.lengths[-1] if self.offsets else 0
        if not end <= offset <= offset + length <= _NUMBER_LIMIT:
            raise data.damaged(f"has a sparse file with {length} bytes at {offset}, after {end}")
        if len(self.offsets) == _EXTENT_LIMIT:
            raise data.damaged(f"has a sparse file in more than {_EXTENT_LIMIT} pieces")
        self.offsets.append(offset)
        self.lengths.append(length)

    def check(self, stored: int, data: tar.Bytes) -> Map:
        """The map itself; raise LayerError unless it fits the stored bytes and the file's size."""
        end = self.offsets[-1] + self.lengths[-1] if self.offsets else 0
        if sum(self.lengths) != stored or end > self.size:
            raise data.damaged(
                f"has a sparse file of {self.size} bytes, {stored} of them stored, whose map "
                f"places {sum(self.lengths)} bytes and ends at {end}"
            )
        return self


def of_header(header: bytes, stored: int, data: tar.Bytes) -> Map:
    """The map of an entry of type ``S``: four extents in the header, 21 in each block behind it."""
    if header[257:265] != b"ustar  \0":
        raise data.damaged("has a sparse file of a kind that only its own tar reads")
    found = Map()
    found.size = _bounded(tar.number(header[483:495], data, "real size"), data)
    table, more = header[386:482], header[482]
    while _add_table(found, table, data) and more:
        block = b"".join(data.pieces(tar.BLOCK))
        table, more = block[:504], block[504]
    return found.check(stored, data)


def _add_table(found: Map, table: bytes, data: tar.Bytes) -> bool:
    """Add 24 bytes for each extent; False where an empty one ends the map."""
    for at in range(0, len(table), 24):
        offset, length = table[at : at + 12], table[at + 12 : at + 24]
        if not length[0]:
            return False
        found.add(
            _bounded(tar.number(offset, data, "sparse map"), data),
            _bounded(tar.number(length, data, "sparse map"), data),
            data,
        )
    return True


def of_records(records: dict[bytes, bytes], entry: tar.Entry, data: tar.Bytes) -> Map:
    """The map that an extended header speaks of; the entry's size becomes that of its bytes."""
    version = tuple(_field(records, key, data, b"0") for key in (b"major", b"minor"))
    if entry.kind != tar.REGULAR or version not in ((0, 0), (0, 1), (1, 0)):
        stated = ".".join(map(str, version))
        raise data.damaged(f"has a sparse entry {entry.name!r:.80} of the format {stated}")
    found = Map()
    if version == (1, 0):
        found.size = _field(records, b"realsize", data)
        before = data.position
        _read_map(found, entry.size, data)
        entry.size -= data.position - before
    else:
        found.size = _field(records, b"size", data)
        numbers = records.get(b"GNU.sparse.map", b"").strip(b",")
        parts = [_decimal(part, data) for part in numbers.split(b",")] if numbers else []
        if len(parts) % 2 or len(parts) != 2 * _field(records, b"numblocks", data):
            raise data.damaged("has a sparse file whose map is not as long as stated")
        for at in range(0, len(parts), 2):
            found.add(parts[at], parts[at + 1], data)
    return found.check(entry.size, data)


def _read_map(found: Map, room: int, data: tar.Bytes) -> None:
    """Format 1.0: decimal numbers on lines, how many pairs first, in whole blocks of the data."""
    numbers = _lines(room, data)
    for _ in range(next(numbers)):
        found.add(next(numbers), next(numbers), data)


def _lines(room: int, data: tar.Bytes) -> Iterator[int]:
    rest = b""
    while room >= tar.BLOCK and len(rest) <= _DIGITS:
        room -= tar.BLOCK
        *lines, rest = (rest + b"".join(data.pieces(tar.BLOCK))).split(b"\n")
        for line in lines:
            yield _decimal(line, data)
    raise data.damaged("has a sparse file with a damaged map")


def _field(records: dict[bytes, bytes], key: bytes, data: tar.Bytes, default: bytes = b"") -> int:
    return _decimal(records.get(b"GNU.sparse." + key, default), data)


def _decimal(text: bytes, data: tar.Bytes) -> int:
    if not text.isdigit() or len(text) > _DIGITS:
        raise data.damaged(f"has a sparse file with {text!r:.40} for a number")
    return _bounded(int(text), data)


def _bounded(number: int, data: tar.Bytes) -> int:
    if not 0 <= number <= _NUMBER_LIMIT:
        raise data.damaged(f"has a sparse file with {number} for a size or place")
    return number


def write(fd: int, found: Map, data: tar.Bytes) -> int:
    """Put the stored bytes where they belong in a new file; return the CRC of all that it holds.

    What lies between stays a hole.
    """
    try:
        os.ftruncate(fd, found.size)
    except OSError as error:
        if error.errno not in (errno.EFBIG, errno.EINVAL):
            raise
        raise LayerError(
            f"{data.what} has a sparse file of {found.size} bytes", "no file here can be so large"
        ) from None
    crc = position = 0
    for offset, length in zip(found.offsets, found.lengths, strict=True):
        if length:
            os.lseek(fd, offset, os.SEEK_SET)
        crc = crc_of_zeros(offset - position, crc)
        position = offset + length
        for piece in data.pieces(length):
            crc = crc32(piece, crc)
            written = os.write(fd, piece)
            while written < len(piece):
                written += os.write(fd, piece[written:])
    return crc_of_zeros(found.size - position, crc)


def crc_of_zeros(count: int, crc: int) -> int:
    """``crc32`` over ``count`` zero bytes, which go on from ``crc``, in no time for a terabyte.

    A zero byte multiplies the register by x to the 8th, as a polynomial modulo that of the CRC
    (RFC 1952, 8, whose bits are in reverse order), so many of them by a power of that.
    """
    if count <= len(_ZEROS):
        return int(crc32(memoryview(_ZEROS)[:count], crc))
    register, factor = crc ^ 0xFFFFFFFF, 1 << 23
    while count:
        if count & 1:
            register = _product(register, factor)
        factor = _product(factor, factor)
        count >>= 1
    return register ^ 0xFFFFFFFF


def _product(one: int, other: int) -> int:
    """Of two polynomials modulo the CRC's; the highest bit is the constant term."""
    product = 0
    for bit in range(31, -1, -1):
        if one >> bit & 1:
            product ^= other
        other = other >> 1 ^ (0xEDB88320 if other & 1 else 0)
    return product

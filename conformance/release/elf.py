"""Takes from a shared library what nobody loads: debuggers' symbols, and the table of sections."""

from __future__ import annotations

import struct

_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little endian
_LOAD = 1
# Offsets in the header of the file (elf(5)): of the program headers and the sections.
_PROGRAM_HEADERS, _SECTIONS = 32, 40
_COUNTS = 54


def loaded_part(data: bytes) -> bytes:
    """The file up to the end of the last segment that is loaded, without a table of sections.

    A wheel of zstandard shrinks to a tenth. Raise ValueError for what is no such ELF file.
    """
    if not data.startswith(_MAGIC):
        raise ValueError(f"no little-endian ELF file of 64 bits: it begins with {data[:6]!r}")
    start = struct.unpack_from("<Q", data, _PROGRAM_HEADERS)[0]
    size, count = struct.unpack_from("<HH", data, _COUNTS)
    end = start + size * count
    for at in range(start, end, size):
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", data, at)
        if kind == _LOAD:
            end = max(end, offset + length)
    trimmed = bytearray(data[:end])
    struct.pack_into("<Q", trimmed, _SECTIONS, 0)
    struct.pack_into("<HHH", trimmed, _COUNTS + 4, 0, 0, 0)  # their size, count and names
    return bytes(trimmed)

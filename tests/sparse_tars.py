"""Sparse files in a tar, in each of GNU tar's formats; every number can be made to lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tests import tars

Extents = Sequence[tuple[int, bytes]]
Records = Mapping[str, tars.Name]
NONE: Records = {}
_IN_HEADER, _IN_BLOCK = 4, 21


def gnu(
    name: str,
    size: int,
    extents: Extents,
    *,
    pairs: Sequence[tuple[int, int]] | None = None,
    stored: int | None = None,
    magic: bytes = b"ustar  \0",
    mode: int = 0o644,
) -> bytes:
    """Type ``S``: four extents fit in the header, 21 in each block behind it."""
    places = list(pairs if pairs is not None else _pairs(size, extents))
    data = b"".join(piece for _, piece in extents)
    first, rest = places[:_IN_HEADER], places[_IN_HEADER:]
    block = bytearray(
        tars.header(name, b"S", size=len(data) if stored is None else stored, mode=mode)
    )
    block[257:265] = magic
    block[386:482] = _table(first, _IN_HEADER)
    block[482] = bool(rest)
    block[483:495] = tars.octal(size, 12)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    more = b""
    while rest:
        now, rest = rest[:_IN_BLOCK], rest[_IN_BLOCK:]
        more += (_table(now, _IN_BLOCK) + bytes((bool(rest),))).ljust(tars.BLOCK, b"\0")
    return bytes(block) + more + tars.padded(data)


def pax00(name: str, size: int, extents: Extents) -> bytes:
    """PAX 0.0: the keys of an extent come again for each."""
    places = _pairs(size, extents)
    records = tars.record("GNU.sparse.size", str(size))
    records += tars.record("GNU.sparse.numblocks", str(len(places)))
    for offset, length in places:
        records += tars.record("GNU.sparse.offset", str(offset))
        records += tars.record("GNU.sparse.numbytes", str(length))
    return tars.pax(records) + tars.file(name, b"".join(piece for _, piece in extents))


def pax01(name: str, size: int, extents: Extents, more: Records = NONE) -> bytes:
    """PAX 0.1: one record has the map; the name stands in a record, too."""
    places = _pairs(size, extents)
    numbers = ",".join(f"{offset},{length}" for offset, length in places)
    records: dict[str, tars.Name] = {
        "GNU.sparse.size": str(size),
        "GNU.sparse.numblocks": str(len(places)),
        "GNU.sparse.name": name,
        "GNU.sparse.map": numbers,
        **more,
    }
    return tars.pax(records) + tars.file("GNUSparseFile.1/x", b"".join(p for _, p in extents))


def pax10(
    name: str,
    size: int,
    extents: Extents,
    table: bytes | None = None,
    more: Records = NONE,
    **fields: int,
) -> bytes:
    """PAX 1.0: the map is in the data, before the bytes; ``table`` stands in its place."""
    places = _pairs(size, extents)
    if table is None:
        numbers = [len(places), *(number for place in places for number in place)]
        table = tars.padded(b"".join(b"%d\n" % number for number in numbers))
    records: dict[str, tars.Name] = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": name,
        "GNU.sparse.realsize": str(size),
        **more,
    }
    data = table + b"".join(piece for _, piece in extents)
    return tars.pax(records) + tars.file("GNUSparseFile.1/x", data, **fields)


FORMATS: dict[str, Callable[[str, int, Extents], bytes]] = {
    "gnu": gnu,
    "0.0": pax00,
    "0.1": pax01,
    "1.0": pax10,
}


def content(size: int, extents: Extents) -> bytes:
    """What a file of these extents reads as."""
    found = bytearray(size)
    for offset, piece in extents:
        found[offset : offset + len(piece)] = piece
    return bytes(found)


def _pairs(size: int, extents: Extents) -> list[tuple[int, int]]:
    """Offsets and lengths; as GNU tar has it, an empty one marks a hole at the end."""
    places = [(offset, len(piece)) for offset, piece in extents]
    end = sum(places[-1]) if places else 0
    return places if end == size and places else [*places, (size, 0)]


def _table(pairs: Sequence[tuple[int, int]], room: int) -> bytes:
    numbers = b"".join(tars.octal(number, 12) for pair in pairs for number in pair)
    return numbers.ljust(24 * room, b"\0")

"""A tar writer that checks nothing, so that any header can be hostile."""

from __future__ import annotations

import gzip
from collections.abc import Iterable

import zstandard

BLOCK = 512
END = bytes(2 * BLOCK)
Name = str | bytes


def raw_name(name: Name) -> bytes:
    return name if isinstance(name, bytes) else name.encode()


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def octal(value: int, width: int) -> bytes:
    """A number as tar writes it; what does not fit goes into base 256, as GNU tar has it."""
    if 0 <= value < 1 << 3 * (width - 1):
        return b"%0*o\0" % (width - 1, value)
    sign = b"\x80" if value >= 0 else b"\xff"
    return sign + value.to_bytes(width, "big", signed=True)[1:]


def header(
    name: Name,
    kind: bytes = b"0",
    *,
    size: int | bytes = 0,
    mode: int | bytes = 0o644,
    link: Name = b"",
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    mtime: int | bytes = 1_600_000_000,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """One header block. Fields given as bytes are taken as they are."""

    def number(value: int | bytes, width: int) -> bytes:
        return octal(value, width) if isinstance(value, int) else value.ljust(width, b"\0")

    raw = raw_name(name)
    assert len(raw) <= 100 and len(raw_name(link)) <= 100
    block = (
        raw.ljust(100, b"\0")
        + number(mode, 8)
        + number(uid, 8)
        + number(gid, 8)
        + number(size, 12)
        + number(mtime, 12)
        + b" " * 8
        + kind
        + raw_name(link).ljust(100, b"\0")
        + magic
        + bytes(80)
        + prefix
    ).ljust(BLOCK, b"\0")
    stated = b"%06o\0 " % sum(block) if checksum is None else checksum
    return block[:148] + stated + block[156:]


def file(name: Name, data: bytes = b"", mode: int = 0o644, **fields: int | bytes) -> bytes:
    extensions = long_name(name)
    fields.setdefault("size", len(data))
    return (
        extensions
        + header(raw_name(name)[:100], mode=mode, **fields)  # type: ignore[arg-type]
        + padded(data)
    )


def directory(name: Name, mode: int = 0o755, **fields: int | bytes) -> bytes:
    extensions = long_name(name)
    return extensions + header(raw_name(name)[:100], b"5", mode=mode, **fields)  # type: ignore[arg-type]


def symlink(name: Name, target: Name) -> bytes:
    return _link(name, b"2", target)


def hard_link(name: Name, target: Name) -> bytes:
    return _link(name, b"1", target)


def _link(name: Name, kind: bytes, target: Name) -> bytes:
    """A link of either kind, with what must stand before it where a name is too long."""
    records = {"path": name} if len(raw_name(name)) > 100 else {}
    if len(raw_name(target)) > 100:
        records["linkpath"] = target
    block = header(raw_name(name)[:100], kind, link=raw_name(target)[:100], mode=0o777)
    return (pax(records) if records else b"") + block


def special(name: Name, kind: bytes) -> bytes:
    """``3`` a character device, ``4`` a block device, ``6`` a fifo."""
    return header(name, kind)


def whiteout(name: str) -> bytes:
    parent, slash, last = name.rpartition("/")
    return file(f"{parent}{slash}.wh.{last}")


def opaque(parent: str) -> bytes:
    return file(f"{parent}/.wh..wh..opq" if parent else ".wh..wh..opq")


def record(key: Name, value: Name) -> bytes:
    """One PAX record: its length counts its own digits."""
    body = b" " + raw_name(key) + b"=" + raw_name(value) + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def pax(records: dict[str, Name] | bytes, kind: bytes = b"x") -> bytes:
    """An extended header; records given as bytes are taken as they are."""
    if isinstance(records, dict):
        records = b"".join(record(key, value) for key, value in records.items())
    return header("PaxHeaders/0", kind, size=len(records)) + padded(records)


def gnu_name(name: Name, kind: bytes = b"L") -> bytes:
    raw = raw_name(name) + b"\0"
    return header("././@LongLink", kind, size=len(raw), magic=b"ustar  \0") + padded(raw)


def long_name(name: Name) -> bytes:
    """What must stand before a header whose name does not fit."""
    return pax({"path": name}) if len(raw_name(name)) > 100 else b""


def layer(*members: bytes, end: bytes = END) -> bytes:
    return b"".join(members) + end


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1, mtime=0)


def nested(names: Iterable[str]) -> bytes:
    """Directories one in another."""
    path, members = "", []
    for name in names:
        path = f"{path}{name}/"
        members.append(directory(path))
    return b"".join(members)

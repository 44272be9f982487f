"""Layers that are damaged or lie about their size: refused in one sentence, nothing is left."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import pytest

from tests import tars
from tests.command import Command
from tests.images import oci_directory
from tests.security.conftest import Images
from tests.trees import file

GOOD = tars.layer(
    tars.file("a", b"a"), tars.file("b", bytes(range(256)) * 500), tars.file("c", b"c")
)

DAMAGED = {
    "not a tar": b"#!/bin/sh\necho this is not a tar\n" * 40,
    "less than a block": b"x",
    "bad checksum mid-archive": tars.layer(
        tars.file("a"), tars.header("b", checksum=b"0000000\0"), tars.file("c")
    ),
    "a damaged byte in a header": tars.layer(tars.file("a"), b"X" + tars.file("b")[1:]),
    "one block of zeros in the middle": tars.layer(tars.file("a"), bytes(512), tars.file("b")),
    "ends in a header": tars.file("a") + tars.file("b")[:300],
    "ends in a file": tars.file("a") + tars.file("b", b"x" * 5000)[:2000],
    "ends in padding": tars.file("a") + tars.file("b", b"x" * 5)[:600],
    "ends after an extended header": tars.file("a") + tars.pax({"path": "b"}),
    "ends in an extended header": tars.file("a") + tars.pax({"path": "b" * 2000})[:1024],
    "ends after a long name": tars.file("a") + tars.gnu_name("b"),
    "negative size": tars.layer(tars.header("a", size=b"\xff" * 12), tars.file("b")),
    "negative octal size": tars.layer(tars.header("a", size=b"-0000000001"), tars.file("b")),
    "negative size in PAX": tars.layer(tars.pax({"size": "-512"}), tars.file("a")),
    "negative size of an extended header": tars.layer(
        tars.header("x", b"x", size=-512), tars.file("a")
    ),
    "size in base 256 beyond all bounds": tars.layer(tars.header("a", size=2**80)),
    "size of eight exbibytes": tars.layer(tars.header("a", size=2**63 - 1)),
    "size of a pebibyte": tars.layer(tars.header("a", size=2**50)),
    "no octal size": tars.layer(tars.header("a", size=b"0x00000000")),
    "digits 8 and 9": tars.layer(tars.header("a", size=b"00000000018")),
    "no octal mode": tars.layer(tars.header("a", mode=b"rwxr-xr")),
    "no octal time": tars.layer(tars.header("a", mtime=b"yesterday")),
    "no checksum": tars.layer(tars.header("a", checksum=b"        ")),
    "flood of digits in PAX": tars.layer(tars.pax({"size": "9" * 10**5}), tars.file("a")),
    "flood of digits in a PAX length": tars.layer(tars.pax(b"9" * 10**5), tars.file("a")),
    "PAX length zero": tars.layer(tars.pax(b"0 path=x\n"), tars.file("a")),
    "PAX length too long": tars.layer(tars.pax(b"999 path=x\n"), tars.file("a")),
    "PAX length too short": tars.layer(tars.pax(b"5 path=x\n"), tars.file("a")),
    "PAX length negative": tars.layer(tars.pax(b"-11 path=x\n"), tars.file("a")),
    "PAX length missing": tars.layer(tars.pax(b" path=x\n"), tars.file("a")),
    "PAX without equals": tars.layer(tars.pax(b"8 pathx\n"), tars.file("a")),
    "PAX without newline": tars.layer(tars.pax(b"10 path=xy"), tars.file("a")),
    "NUL in a PAX name": tars.layer(tars.pax({"path": b"a\0b"}), tars.file("a")),
    "name longer than any": tars.layer(tars.pax({"path": "a/" * 5000}), tars.file("a")),
    "step of a name longer than any": tars.layer(tars.pax({"path": "a" * 300}), tars.file("a")),
    "parent longer than any": tars.layer(tars.pax({"path": "a" * 300 + "/b"}), tars.file("a")),
    "extended header of 2 MiB": tars.layer(tars.pax({"comment": "x" * 2**21}), tars.file("a")),
    "extended header of 8 TiB": tars.layer(tars.header("x", b"x", size=2**43)),
    "long name of 8 TiB": tars.layer(tars.header("x", b"L", size=2**43)),
    "unknown type": tars.layer(tars.header("a", b"\x1b"), tars.file("b")),
    "several volumes": tars.layer(tars.header("a", b"M"), tars.file("b")),
    "GNU sparse of 8 TiB": tars.layer(tars.header("a", b"S", size=512), bytes(512)),
    "PAX sparse of 8 TiB": tars.layer(
        tars.pax({"GNU.sparse.major": "1", "GNU.sparse.realsize": str(2**43)}), tars.file("a")
    ),
    "empty link": tars.layer(tars.symlink("a", "")),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_archive_is_refused(images: Images, what: str) -> None:
    images.command.assert_refused(images.command.load(images.layout(DAMAGED[what])))


def test_a_damaged_upper_layer_leaves_nothing_of_the_lower(images: Images) -> None:
    images.refused(GOOD, DAMAGED["bad checksum mid-archive"])
    images.tree(GOOD)


def _flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes((data[position] ^ 0xFF,)) + data[position:][1:]


PACKED = tars.gzipped(GOOD)
BROKEN = {
    "gzip cut at a half": PACKED[: len(PACKED) // 2],
    "gzip without its trailer": PACKED[:-8],
    "gzip cut in its trailer": PACKED[:-1],
    "gzip cut in its header": PACKED[:5],
    "gzip of a wrong CRC": _flipped(PACKED, len(PACKED) - 6),
    "gzip of a wrong length": _flipped(PACKED, len(PACKED) - 2),
    "gzip with a damaged middle": _flipped(PACKED, len(PACKED) // 2),
    "gzip followed by something else": PACKED + b"trailing",
    "gzip whose second member is cut": PACKED + tars.gzipped(bytes(10240))[:-4],
    "zstd cut at a half": tars.zstd(GOOD)[: len(tars.zstd(GOOD)) // 2],
    "zstd without its last byte": tars.zstd(GOOD)[:-1],
    "zstd with a damaged middle": _flipped(tars.zstd(GOOD), 30),
}


@pytest.mark.parametrize(
    "what", ["gzip cut at a half", "gzip of a wrong CRC", "zstd cut at a half"]
)
def test_damaged_compression_is_refused(command: Command, tmp_path: Path, what: str) -> None:
    command.refuses(oci_directory(tmp_path / "image", [GOOD], lambda _: BROKEN[what]))


@pytest.mark.parametrize("what", BROKEN)
def test_a_damaged_tarball_is_not_imported(command: Command, tmp_path: Path, what: str) -> None:
    """Here no digest tells what the content should be: the compression must be read to its end."""
    (tmp_path / "packed").write_bytes(BROKEN[what])
    command.assert_refused(command("import", tmp_path / "packed", "test:1"))


def _members(data: bytes) -> bytes:
    """gzip as pigz and estargz make it: several members, with all optional fields in the header."""
    odd = b"\x1f\x8b\x08\x1f" + bytes(4) + b"\0\xff" + struct.pack("<H", 6) + b"SG\2\0\0\0"
    odd += b"name\0comment\0"
    odd = odd.replace(b"\x08\x1f", b"\x08\x1e")  # without FTEXT
    odd += struct.pack("<H", zlib.crc32(odd) & 0xFFFF)
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    half = len(data) // 2
    body = raw.compress(data[:half]) + raw.flush()
    odd += body + struct.pack("<II", zlib.crc32(data[:half]), half)
    return odd + gzip.compress(b"") + gzip.compress(data[half:])


@pytest.mark.parametrize(
    "compress",
    [
        tars.gzipped,
        _members,
        lambda data: tars.gzipped(data[:999]) + tars.gzipped(data[999:]),
        lambda data: tars.gzipped(data) + bytes(1024),
        tars.zstd,
        lambda data: tars.zstd(data[:999]) + tars.zstd(data[999:]),
        lambda data: tars.zstd(data) + b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"index",
        lambda data: data,
    ],
    ids=["gzip", "odd gzip", "two gzip", "padded", "zstd", "two zstd", "chunked zstd", "plain"],
)
def test_every_sound_compression_is_read(
    command: Command, tmp_path: Path, compress: object
) -> None:
    assert callable(compress)
    tree = command.accepts(oci_directory(tmp_path / "image", [GOOD], compress))
    assert tree["b"] == file(bytes(range(256)) * 500) and len(tree) == 4


def test_what_follows_the_end_of_the_archive_counts_for_the_digest(images: Images) -> None:
    layer = tars.layer(tars.file("a", b"x")) + b"\1" * 3000 + tars.file("not", b"seen")
    assert images.tree(layer) == {"a": file(b"x")}


def test_a_layer_of_nothing_is_an_empty_layer(images: Images) -> None:
    assert images.tree(tars.END, tars.layer(tars.file("a")), tars.layer(end=b"")) == {"a": file()}


def test_an_archive_without_an_end_mark_is_read_to_its_end(images: Images) -> None:
    assert images.tree(tars.layer(tars.file("a"), end=b"")) == {"a": file()}
    assert images.tree(tars.layer(tars.file("b"), end=bytes(512))) == {"b": file()}

"""Layers that are damaged or lie about their size: refused in one sentence, nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tars
from tests.catalogue import DAMAGED
from tests.command import Command
from tests.images import oci_directory
from tests.packing import PACKINGS
from tests.security.conftest import Images
from tests.trees import file

GOOD = tars.layer(
    tars.file("a", b"a"), tars.file("b", bytes(range(256)) * 500), tars.file("c", b"c")
)


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


@pytest.mark.parametrize(
    "packing",
    ["plain", "gzip", "gzip with all fields, twice", "zstd:chunked", "pzstd", "xz of two streams"],
)
def test_every_sound_packing_is_read(command: Command, tmp_path: Path, packing: str) -> None:
    tree = command.accepts(oci_directory(tmp_path / "image", [GOOD], PACKINGS[packing]))
    assert tree["b"] == file(bytes(range(256)) * 500) and len(tree) == 4


def test_what_follows_the_end_of_the_archive_counts_for_the_digest(images: Images) -> None:
    layer = tars.layer(tars.file("a", b"x")) + b"\1" * 3000 + tars.file("not", b"seen")
    assert images.tree(layer) == {"a": file(b"x")}


def test_a_layer_of_nothing_is_an_empty_layer(images: Images) -> None:
    assert images.tree(tars.END, tars.layer(tars.file("a")), tars.layer(end=b"")) == {"a": file()}


def test_an_archive_without_an_end_mark_is_read_to_its_end(images: Images) -> None:
    assert images.tree(tars.layer(tars.file("a"), end=b"")) == {"a": file()}
    assert images.tree(tars.layer(tars.file("b"), end=bytes(512))) == {"b": file()}

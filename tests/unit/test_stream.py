"""Streams of bytes: hashed, counted, decompressed in bounded pieces, passed between threads."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ContentMismatch, LayerError
from cwl_userspace.image.ahead import Ahead
from cwl_userspace.image.stream import Checked, decompressed
from tests import tars

DATA = bytes(range(256)) * 3000
PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data, "gzip": gzip.compress, "zstd": tars.zstd,
    "xz": lzma.compress, "bzip2": bz2.compress,
}  # fmt: skip


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


@pytest.mark.parametrize("size", [1009, 1 << 20])
@pytest.mark.parametrize("kind", PACK)
def test_every_compression_is_known_by_its_first_bytes(kind: str, size: int) -> None:
    packed = PACK[kind](DATA)
    assert b"".join(decompressed(pieces(packed, size), "the layer")) == DATA
    twice = packed + PACK[kind](DATA)
    assert b"".join(decompressed(pieces(twice, size), "the layer")) == DATA * 2


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz", "bzip2"])
def test_input_comes_in_the_smallest_pieces(kind: str) -> None:
    packed = PACK[kind](b"some text")
    assert b"".join(decompressed(pieces(packed, 1), "the layer")) == b"some text"


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz", "bzip2"])
@pytest.mark.parametrize("cut", [1, 4, 5, 50, 0.5])
def test_input_that_is_cut_short_is_refused(kind: str, cut: float) -> None:
    packed = PACK[kind](DATA)
    kept = packed[: int(len(packed) * cut)] if cut < 1 else packed[: -int(cut)]
    with pytest.raises(LayerError):
        list(decompressed([kept], "the layer"))


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz", "bzip2"])
def test_a_bomb_comes_out_in_bounded_pieces(kind: str) -> None:
    packed = PACK[kind](bytes(16 << 20))
    assert max(map(len, decompressed([packed], "the layer"))) <= 2 << 20


def test_xz_that_asks_for_gigabytes_is_refused() -> None:
    packed = lzma.compress(
        b"x", filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 3 << 29}]
    )
    with pytest.raises(LayerError, match="emory"):
        list(decompressed([packed], "the layer"))


def test_zstd_that_asks_for_a_window_of_gigabytes_is_refused() -> None:
    header = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\xa8"  # a window of 2 GiB
    with pytest.raises(LayerError):
        list(decompressed([header + b"\x01\x00\x00"], "the layer"))


def test_nothing_is_nothing() -> None:
    assert list(decompressed([], "the layer")) == []
    assert b"".join(decompressed([b"", gzip.compress(b"ab"), b""], "the layer")) == b"ab"


def _digest(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


def test_right_bytes_pass_and_have_a_digest() -> None:
    checked = Checked([b"ab", b"", b"c"], _digest(b"abc"), 3, "the blob")
    assert b"".join(checked) == b"abc"
    assert (checked.digest, checked.length) == (_digest(b"abc"), 3)


@pytest.mark.parametrize(
    ("digest", "size", "reason"),
    [(b"abd", 3, "digest"), (b"abc", 4, "has 3 bytes, not the 4"), (b"abc", 2, "longer than")],
)
def test_wrong_bytes_are_named(digest: bytes, size: int, reason: str) -> None:
    with pytest.raises(ContentMismatch, match=f"the blob.*{reason}"):
        list(Checked([b"a", b"b", b"c"], _digest(digest), size, "the blob"))


def test_bytes_without_end_are_stopped_at_the_size_stated() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 10

    with pytest.raises(ContentMismatch):
        list(Checked(endless(), None, 25, "the blob"))
    assert taken == 3


def test_a_thread_hands_on_chunks_and_errors_in_their_place() -> None:
    def failing() -> Iterator[bytes]:
        yield from (b"1", b"2")
        raise LayerError("broken", "really")

    received: list[bytes] = []
    with pytest.raises(LayerError, match="broken"):
        for chunk in Ahead(failing()):
            received.append(chunk)
    assert received == [b"1", b"2"]
    assert list(Ahead([b"a", b"b", b"c"], depth=1)) == [b"a", b"b", b"c"]


def test_a_thread_runs_only_a_little_ahead_and_ends_with_its_reader() -> None:
    made = 0

    def endless() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield b"x"

    before = threading.active_count()
    stream = Ahead(endless(), depth=4)
    next(stream)
    time.sleep(0.2)
    assert made <= 7
    stream.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() == before


def test_a_thread_whose_chunks_nobody_reads_ends_when_it_is_closed() -> None:
    before = threading.active_count()
    Ahead(iter(lambda: b"x", None), depth=2).close()
    assert threading.active_count() == before

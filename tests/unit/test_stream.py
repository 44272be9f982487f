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
from cwl_userspace.image.ahead import Ahead, Beside
from cwl_userspace.image.stream import Checked, decompressed
from tests import tars
from tests.packing import PACKINGS

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


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("packing", PACKINGS)
def test_every_sound_packing_is_read_in_pieces_of_any_size(packing: str, size: int) -> None:
    """Of gzip above all the headers' optional fields, which may come in two pieces."""
    for data in (b"", DATA[:20_000]):
        packed = PACKINGS[packing](data)
        assert b"".join(decompressed(pieces(packed, size), "the layer")) == data


@pytest.mark.parametrize("name", [b"BZh", b"BZh9", b"BZh91AY&S"])
def test_a_tar_that_begins_with_the_name_of_a_packing_is_a_tar(name: bytes) -> None:
    layer = tars.layer(tars.file(name, b"x"))
    assert b"".join(decompressed([layer], "the layer")) == layer


@pytest.mark.parametrize("packing", ["gzip", "gzip padded", "zstd", "xz", "bzip2"])
def test_a_flood_of_empty_members_is_passed_over(packing: str) -> None:
    """Each used to have what follows it copied: hours for a few megabytes.

    So what comes in large pieces must cost about what it costs in small ones, of which no more than
    a little can be copied. That is a ratio of processor times: other load does not change it.
    """
    member = PACKINGS[packing](b"")
    flood = member * (2_000_000 // len(member))

    def cost(size: int) -> float:
        start = time.thread_time()
        assert b"".join(decompressed(pieces(flood, size), "the layer")) == b""
        return time.thread_time() - start

    assert min(cost(1 << 20) for _ in range(2)) < 4 * min(cost(1 << 14) for _ in range(2)) + 0.01


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


def test_what_reads_beside_has_all_and_is_waited_for() -> None:
    seen: list[bytes] = []
    gate = threading.Event()

    def read(chunks: Iterator[bytes]) -> None:
        first = next(chunks)
        gate.wait()
        seen.extend([first, *chunks])

    stream = iter(Beside([b"a", b"b", b"c"], read))
    assert [next(stream) for _ in range(3)] == [b"a", b"b", b"c"]
    gate.set()
    assert next(stream, None) is None and seen == [b"a", b"b", b"c"]


def test_what_reads_beside_is_not_left_far_behind() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while taken < 1000:
            taken += 1
            yield b"x"
        raise AssertionError("nobody was waited for")

    def read(chunks: Iterator[bytes]) -> None:
        next(chunks)
        raise ValueError("not read any further")

    with pytest.raises(ValueError, match="not read any further"):
        list(Beside(endless(), read, depth=4))
    assert taken <= 5


def test_an_error_of_what_reads_beside_comes_before_the_end() -> None:
    def read(chunks: Iterator[bytes]) -> None:
        if b"".join(chunks) != b"ab":
            raise ValueError("other bytes")

    assert list(Beside([b"a", b"b"], read)) == [b"a", b"b"]
    with pytest.raises(ValueError, match="other bytes"):
        list(Beside([b"a", b"c"], read))


def test_what_reads_beside_ends_when_the_stream_is_left() -> None:
    ended = threading.Event()

    def read(chunks: Iterator[bytes]) -> None:
        list(chunks)
        ended.set()

    stream = Beside([b"a", b"b"], read)
    assert next(iter(stream)) == b"a"
    stream.close()
    assert ended.is_set()

"""The tar reader: what each field may hold, and that the stream is read to its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cwl_userspace.errors import LayerError
from cwl_userspace.image import tar
from tests import tars


def read(*members: bytes, end: bytes = tars.END) -> list[tar.Entry]:
    return list(tar.entries(tar.Bytes([tars.layer(*members, end=end)], "the layer")))


def test_fields_are_read_as_they_stand() -> None:
    (entry,) = read(tars.header("a/b", b"2", mode=0o7755, link="to", mtime=12, size=5))
    assert (entry.name, entry.link, entry.kind) == (b"a/b", b"to", tar.SYMLINK)
    assert (entry.mode, entry.mtime, entry.size) == (0o7755, 12, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644), (b"644 \0\0\0\0", 0o644), (b"   644 \0", 0o644),
        (b"00000644", 0o644),
               (b"\0" * 8, 0), (b"        ", 0), (b"\x80\0\0\0\0\0\0\1", 1), (b"\xff" * 8, 0o7777),
    ],
)  # fmt: skip
def test_numbers_are_octal_or_base_256(field: bytes, value: int) -> None:
    assert read(tars.header("f", mode=field))[0].mode == value


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        (0, 0.0), (-1, -1.0), (2**33, 2.0**33), (2**40, 0.0), (-(2**60), 0.0),
        ("1.5", 1.5), ("-1.5", -1.5), ("nan", 0.0), ("inf", 0.0), ("soon", 0.0), ("", 7.0),
    ],
)  # fmt: skip
def test_time_stamps_are_kept_within_what_file_systems_hold(
    stamp: int | str, seconds: float
) -> None:
    if isinstance(stamp, int):
        (entry,) = read(tars.header("f", mtime=stamp))
    else:
        (entry,) = read(tars.pax({"mtime": stamp}), tars.header("f", mtime=7))
    assert entry.mtime == seconds


def test_checksums_of_signed_bytes_are_accepted() -> None:
    block = tars.header(b"caf\xe9\xff", checksum=b" " * 8)
    signed = sum(b - 256 if b > 127 else b for b in block)
    assert read(tars.header(b"caf\xe9\xff", checksum=b"%06o\0 " % signed))[0].name == b"caf\xe9\xff"
    with pytest.raises(LayerError, match="damaged header at byte 512"):
        read(tars.file("f"), tars.header(b"caf\xe9", checksum=b"%06o\0 " % (signed + 99)))


@pytest.mark.parametrize("size", [1, 7, 511, 512, 513, 1 << 20])
def test_the_size_of_chunks_makes_no_difference(size: int) -> None:
    raw = tars.layer(tars.file("n" * 200, b"x" * 1000), tars.directory("d"), tars.file("e", b"y"))
    data = tar.Bytes((raw[i : i + size] for i in range(0, len(raw), size)), "the layer")
    contents = []
    for entry in tar.entries(data):
        contents.append((entry.name[:2], b"".join(map(bytes, data.pieces(entry.size)))))
    assert contents == [(b"nn", b"x" * 1000), (b"d", b""), (b"e", b"y")]


def test_a_file_that_is_not_read_is_passed_over() -> None:
    data = tar.Bytes([tars.layer(tars.file("a", b"x" * 1000), tars.file("b"))], "the layer")
    names = []
    for entry in tar.entries(data):
        names.append(entry.name)
        data.take(entry.size // 3)
    assert names == [b"a", b"b"]


def test_the_stream_is_read_to_its_end() -> None:
    """Whoever hashes it must see every byte, also those behind the end of the archive."""
    passed = []

    def chunks() -> Iterator[bytes]:
        for chunk in (tars.layer(tars.file("a")), bytes(5000), b"trailing"):
            passed.append(len(chunk))
            yield chunk

    assert len(list(tar.entries(tar.Bytes(chunks(), "the layer")))) == 1
    assert passed == [2048 - 512, 5000, 8]


def test_extended_headers_speak_of_the_next_entry_alone() -> None:
    first, second = read(
        tars.pax({"path": "long", "mtime": "5", "size": "3"}), tars.header("a", mtime=1),
        tars.padded(b"123"), tars.header("b", mtime=2),
    )  # fmt: skip
    assert (first.name, first.mtime, first.size) == (b"long", 5, 3)
    assert (second.name, second.mtime, second.size) == (b"b", 2, 0)


def test_many_extended_headers_need_no_memory() -> None:
    """A gigabyte of them is passed over; only what can be used of the last is kept."""
    bomb = tars.pax({"comment": "x" * 100_000, "path": "p"})

    def chunks() -> Iterator[bytes]:
        for _ in range(300):
            yield bomb
        yield tars.layer(tars.file("f"))

    assert [e.name for e in tar.entries(tar.Bytes(chunks(), "the layer"))] == [b"p"]


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (tars.pax({"GNU.sparse.map": "0,1"}), "sparse"),
        (tars.header("a", b"Q"), "unknown type 'Q'"),
        (tars.header("a", size=b"\xff" * 12), "size"),
        (tars.pax({"size": "1_0"}), "size"),
        (tars.pax({"path": "x" * 5000}), "no file can have"),
        (tars.header("x", b"x", size=1 << 30), "extended header of 1073741824 bytes"),
        (tars.header("a", mode=b"12 34567"), "mode"),
    ],
)
def test_what_cannot_be_is_refused_by_name(member: bytes, reason: str) -> None:
    with pytest.raises(LayerError, match=reason):
        read(member, tars.file("f"))


@pytest.mark.parametrize("before", [b"", tars.record("path", "p")])
@pytest.mark.timeout(20)
def test_extended_records_without_a_length_have_an_end(before: bytes) -> None:
    """With no blank in sight, and a newline in the end, the reader began anew for ever."""
    with pytest.raises(LayerError, match="damaged extended header"):
        read(tars.pax(before + b"as-long-as-any-number=x\n"), tars.file("f"))

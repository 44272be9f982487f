"""Archives, packed streams and files with logins of whatever bytes: read, or refused by an error of
ours, and the same whichever way the bytes come."""

from __future__ import annotations

import bz2
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwl_userspace.errors import ImageError, LayerError, SettingsError, UserspaceError
from cwl_userspace.image import loginfile, tar
from cwl_userspace.image.archive import loadable
from cwl_userspace.image.credentials import Credentials, Login
from cwl_userspace.image.stream import decompressed
from cwl_userspace.oci import Platform
from tests import sparse_tars, tars
from tests.fuzzing import examples

pytestmark = pytest.mark.once

# A layer with every kind of header, one in each of its blocks or so.
MEMBERS = (
    tars.directory("d", 0o755),
    tars.file("d/f", b"content" * 100),
    tars.symlink("d/l", "../x"),
    tars.hard_link("h", "d/f"),
    tars.special("null", b"3"),
    tars.pax({"path": "p" * 120, "mtime": "1.5", "size": "3"}) + tars.file("short", b"abc"),
    tars.gnu_name("g" * 200) + tars.file("cut", b"y"),
    tars.gnu_name("l" * 150, b"K") + tars.symlink("k", "cut"),
    tars.pax({"comment": "for all"}, b"g"),
    tars.header("old/", b"\0"),
    tars.header("sized", size=b"\x80" + bytes(10) + b"\x05") + tars.padded(b"12345"),
    *(
        writer("holes", 10_000, [(0, b"start"), (8192, b"end")])
        for writer in sparse_tars.FORMATS.values()
    ),
)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Members in any order, of which some bytes are others, doubled or gone; headers fit again."""
    body = b"".join(draw(st.lists(st.sampled_from(MEMBERS), min_size=1, max_size=5)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body)))
        what = draw(st.one_of(st.binary(max_size=4), st.sampled_from(ODD)))
        body = body[:at] + what + body[at + draw(st.sampled_from([0, len(what), 512])) :]
    if draw(st.booleans()):
        body = mended(body)
    return body + draw(st.sampled_from([tars.END, tars.END[:512], b""]))


ODD = (b"-1", b"9" * 20, b"\xff" * 12, b"0" * 12, b" " * 8, b"\x80" + b"\xff" * 11, b"nan",
       b"1e400", b"x", b"S", b"\n", b"=", b"27 GNU.sparse.offset=1e1000\n",
       b"11 path=a\0b\n")  # fmt: skip


def mended(body: bytes) -> bytes:
    """The same with a right checksum in each block that has a type that tar knows."""
    blocks = []
    for start in range(0, len(body), tars.BLOCK):
        block = body[start : start + tars.BLOCK]
        if len(block) == tars.BLOCK and block[156] in b"\0001234567xgLKVS":
            block = block[:148] + b" " * 8 + block[156:]
            block = block[:148] + b"%06o\0 " % sum(block) + block[156:]
        blocks.append(block)
    return b"".join(blocks)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(data: bytes, size: int, whole: bool) -> list[object]:
    """What the reader makes of an archive that comes in pieces of a size, its error at the end."""
    found: list[object] = []
    stream = tar.Bytes(pieces(data, size), "the layer")
    try:
        for entry in tar.entries(stream):
            content = b"".join(stream.pieces(entry.size)) if whole else None
            holes = (s := entry.sparse) and (s.size, *s.offsets, *s.lengths)
            found.append((entry.kind, entry.name, entry.link, entry.mode, entry.mtime, holes))
            found.append(content)
    except LayerError as error:
        assert str(error).isprintable()
        found.append(str(error))
    return found


@examples(120)
@given(archives(), st.integers(1, 1500), st.booleans())
def test_an_archive_is_the_same_in_whatever_pieces_it_comes(
    data: bytes, size: int, whole: bool
) -> None:
    read_alike(data, size, whole)


def read_alike(data: bytes, size: int, whole: bool) -> None:
    """The reader makes the same of an archive in pieces of a size and in one."""
    assert read(data, size, whole) == read(data, len(data) + 1, whole)


PLAIN = bytes(range(256)) * 20 + bytes(3000)
PACKED = (
    tars.gzipped(PLAIN),
    tars.gzipped(PLAIN) + bytes(512) + tars.gzipped(b"more"),
    tars.zstd(PLAIN),
    tars.zstd(PLAIN) + b"\x50\x2a\x4d\x18\x04\0\0\0skip" + tars.zstd(b"more"),
    lzma.compress(PLAIN),
    bz2.compress(PLAIN),
)


@examples(100)
@given(
    st.sampled_from(PACKED),
    st.lists(st.tuples(st.integers(0, 600), st.binary(max_size=6)), max_size=3),
    st.integers(1, 700),
)
def test_a_packed_stream_is_the_same_in_whatever_pieces_it_comes(
    data: bytes, changes: list[tuple[int, bytes]], size: int
) -> None:
    for at, piece in changes:
        data = data[:at] + piece + data[at + len(piece) :]

    def plain(size: int) -> tuple[bytes, bool]:
        found = bytearray()
        try:
            for piece in decompressed(pieces(data, size), "the layer"):
                found += piece
        except LayerError:
            return bytes(found[:0]), False
        return bytes(found), True

    assert plain(size) == plain(len(data) + 1)


# JSON that others write: where logins are, and what docker save says of its images.

KEYS = ("auths", "auth", "username", "password", "identitytoken", "registrytoken", "credHelpers",
        "credsStore", "registry.example.org", "https://registry.example.org/v1/", "Config",
        "https://index.docker.io/v1/", "Layers", "RepoTags", "config.json",
        "layer.tar")  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=10),
    st.sampled_from(["dXNlcjpwYXNz", "dXNlcg==", "registry.example.org/a", "layer.tar", "\ud800"]),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
ENTRY = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS[1:6], JSON))
LOGINS = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {},
        optional={
            "auths": JSON | st.dictionaries(st.sampled_from(KEYS), JSON | ENTRY),
            "credHelpers": JSON,
            "credsStore": JSON,
        },
    ),
)
REGISTRY = "registry.example.org"


@examples(50)
@given(LOGINS)
def test_whatever_a_file_of_logins_says_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, document: Any
) -> None:
    path = tmp_path_factory.mktemp("logins") / "config.json"
    text = json.dumps(document)
    for use in (
        lambda: Credentials([str(path)]).login(REGISTRY, "a/b"),
        lambda: Credentials([str(path)]).login("docker.io", "library/debian"),
        lambda: loginfile.logins(str(path)),
        lambda: loginfile.forget(str(path), REGISTRY),
        lambda: loginfile.keep(str(path), REGISTRY, Login("", "user", "word")),
    ):
        path.write_text(text)
        try:
            use()
        except UserspaceError as error:
            assert isinstance(error, SettingsError) or "helper" in str(error)


@examples(60)
@given(
    JSON
    | st.lists(st.fixed_dictionaries({"Config": st.just("config.json"), "Layers": JSON}))
    | st.lists(st.fixed_dictionaries({"Config": JSON, "Layers": JSON, "RepoTags": JSON})),
    st.sampled_from([b'{"rootfs": {"diff_ids": []}}', b"[]", b"{", b""]),
)
def test_whatever_an_archive_says_of_its_images_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, document: Any, config: bytes
) -> None:
    place = tmp_path_factory.mktemp("archive")
    files = {
        "manifest.json": json.dumps(document).encode(),
        "config.json": config,
        "layer.tar": b"",
    }
    packed = tars.layer(*(tars.file(name, content) for name, content in files.items()))
    archive = Path(place, "archive.tar")
    archive.write_bytes(packed)
    try:
        loadable(str(archive), str(place), Platform("linux", "amd64"))
    except ImageError as error:
        assert str(error).isprintable()

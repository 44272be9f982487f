"""Sparse files: what GNU tar writes comes out as it went in, holes and all; lies do not."""

from __future__ import annotations

import os
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwl_userspace.errors import LayerError
from cwl_userspace.image import sparse, tar
from cwl_userspace.image.layers import Tree
from tests import sparse_tars, tars
from tests.catalogue import LYING_MAPS
from tests.fuzzing import examples
from tests.sparse_tars import Extents

MIB = 1 << 20


def unpack(top: Path, layer: bytes, size: int = 1000) -> Tree:
    """Apply one layer that comes in small pieces."""
    top.mkdir(exist_ok=True)
    tree = Tree(str(top))
    try:
        pieces = (layer[i : i + size] for i in range(0, len(layer), size))
        tree.apply(tar.Bytes(pieces, "the layer"))
    except BaseException:
        tree.close()
        raise
    tree.finish()
    return tree


@st.composite
def extents(draw: st.DrawFn) -> tuple[int, Extents]:
    """The size of a file, and pieces of it in their order."""
    found, end = [], 0
    for _ in range(draw(st.sampled_from([0, 1, 3, 4, 5, 24, 25, 26, 60]))):
        start = end + draw(st.integers(0, 3000))
        piece = draw(st.binary(min_size=1, max_size=3)) * draw(st.integers(1, 500))
        found.append((start, piece))
        end = start + len(piece)
    return end + draw(st.integers(0, 5000)), found


@examples(40)
@given(extents(), st.sampled_from(list(sparse_tars.FORMATS)), st.integers(1, 3000))
def test_every_format_gives_the_file_that_it_describes(
    tmp_path_factory: pytest.TempPathFactory,
    described: tuple[int, Extents],
    name: str,
    piece: int,
) -> None:
    size, pieces = described
    member = sparse_tars.FORMATS[name]("d/f", size, pieces)
    top = tmp_path_factory.mktemp("tree")
    tree = unpack(top, tars.layer(member, tars.file("after", b"x")), piece)
    assert (top / "d/f").read_bytes() == sparse_tars.content(size, pieces)
    assert (top / "after").read_bytes() == b"x"
    assert tree.holes == size - sum(len(data) for _, data in pieces)
    assert tree.bytes == size + 1


GNU_TAR = {
    "gnu": ["--format=gnu"],
    "0.0": ["--format=posix", "--sparse-version=0.0"],
    "0.1": ["--format=posix", "--sparse-version=0.1"],
    "1.0": ["--format=posix", "--sparse-version=1.0"],
}


@pytest.fixture
def holes(tmp_path: Path) -> Path:
    """Files with holes: many, at the end, nothing but one, none."""
    place = tmp_path / "holes"
    place.mkdir()
    for name, count, size in (("many", 60, 8 * MIB), ("few", 2, 3 * MIB), ("only", 0, MIB)):
        with open(place / name, "wb") as file:
            for number in range(count):
                file.seek(number * 100_000)
                file.write(b"%d" % number * 500)
            file.truncate(max(size, file.tell()))
    with open(place / ("long" * 60), "wb") as file:
        file.seek(2 * MIB)
        file.write(b"end")
    (place / "dense").write_bytes(b"dense" * 5000)
    os.link(place / "many", place / "same")
    return place


@pytest.mark.parametrize("version", GNU_TAR)
def test_what_gnu_tar_writes_comes_out_with_its_holes(
    holes: Path, tmp_path: Path, version: str
) -> None:
    made = subprocess.run(
        ["tar", "-C", holes, "-S", *GNU_TAR[version], "-c", "."], capture_output=True, check=True
    )
    assert len(made.stdout) < 2 * MIB
    top = tmp_path / "tree"
    unpack(top, made.stdout)
    for path in holes.iterdir():
        assert (top / path.name).read_bytes() == path.read_bytes(), path.name
    assert os.path.samefile(top / "many", top / "same")
    for name in ("many", "few", "only"):
        found = (top / name).stat()
        assert found.st_blocks * 512 < found.st_size // 4, name


@pytest.mark.parametrize("name", LYING_MAPS)
def test_a_map_that_lies_is_refused(tmp_path: Path, name: str) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(LayerError) as caught:
        unpack(tmp_path, LYING_MAPS[name])
    assert str(caught.value).isprintable()
    assert os.listdir("/proc/self/fd") == before


def test_a_map_without_end_is_not_kept_in_memory(tmp_path: Path) -> None:
    """Half a million extents in the map of a file, each of them empty."""
    table = tars.padded(b"500000\n" + b"0\n0\n" * 500_000)
    with pytest.raises(LayerError, match="in more than 262144 pieces"):
        unpack(tmp_path, tars.layer(sparse_tars.pax10("f", 0, [], table)), 1 << 20)


def test_a_file_that_no_file_system_holds_is_an_error_of_the_layer(tmp_path: Path) -> None:
    with pytest.raises(LayerError, match="no file here can be so large"):
        unpack(tmp_path, tars.layer(sparse_tars.pax01("f", 1 << 53, [])))


@pytest.mark.parametrize("count", [0, 1, 511, 65536, 65537, 1_000_003, 5 * MIB])
def test_the_crc_of_a_hole_is_that_of_its_zeros(count: int) -> None:
    for crc in (0, zlib.crc32(b"before")):
        assert sparse.crc_of_zeros(count, crc) == zlib.crc32(bytes(count), crc)


def test_what_follows_a_sparse_file_that_is_not_read_is_found() -> None:
    """Whoever only lists an archive passes over the data, of which the map is a part."""
    members = [make("f", 9000, [(4096, b"x" * 700)]) for make in sparse_tars.FORMATS.values()]
    layer = tars.layer(*members, tars.file("end"))

    def pieces() -> Iterator[bytes]:
        yield layer

    found = list(tar.entries(tar.Bytes(pieces(), "the layer")))
    assert [entry.name for entry in found] == [b"f", b"f", b"f", b"f", b"end"]
    assert [entry.size for entry in found] == [700, 700, 700, 700, 0]

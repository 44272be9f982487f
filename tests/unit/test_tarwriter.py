"""What is written as a tar is read as the same by others and by us."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwl_userspace.errors import StoreError
from cwl_userspace.image import tar
from cwl_userspace.image.tarwriter import Writer, content_of, member, size_of
from tests.fuzzing import examples

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=130)


def written(*entries: tuple[tar.Entry, bytes]) -> bytes:
    out = io.BytesIO()
    writer = Writer(out.write)
    for entry, content in entries:
        writer.entry(entry, [content])
    writer.finish()
    return out.getvalue()


@examples(100)
@given(
    name=st.lists(NAMES, min_size=1, max_size=4).map("/".join).filter(lambda n: not n.isspace()),
    content=st.binary(max_size=1200),
    mode=st.integers(0, 0o7777),
    mtime=st.integers(-(2**31), 2**34 - 1),
)
def test_a_file_is_read_as_it_was_written(name: str, content: bytes, mode: int, mtime: int) -> None:
    entry = tar.Entry(tar.REGULAR, name.encode(), b"", mode, len(content), mtime)
    data = written((entry, content))
    assert len(data) == size_of(entry) + 1024
    stream = tar.Bytes([data], "a test")
    (found,) = [(one, b"".join(stream.pieces(one.size))) for one in tar.entries(stream)]
    assert (found[0].name, found[0].mode, found[0].mtime) == (name.encode(), mode, mtime)
    assert found[1] == content
    with tarfile.open(fileobj=io.BytesIO(data)) as other:
        (theirs,) = other.getmembers()
        file = other.extractfile(theirs)
        assert file is not None and file.read() == content
        assert (theirs.name, theirs.mode, theirs.mtime) == (name.rstrip("/"), mode, mtime)
        assert (theirs.uid, theirs.gid, theirs.uname, theirs.gname) == (0, 0, "", "")


def test_links_with_long_targets_are_kept() -> None:
    out = io.BytesIO()
    writer = Writer(out.write)
    writer.directory(b"", 0o755, 1)
    writer.link(b"l", b"/" + b"t" * 300, 2)
    writer.hard_link(b"h" * 200, b"f" * 200, 0o644, 3)
    writer.finish()
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as other:
        root, link, hard = other.getmembers()
    assert (root.name, root.isdir()) == (".", True)
    assert (link.linkname, link.issym()) == ("/" + "t" * 300, True)
    assert (hard.name, hard.linkname, hard.islnk()) == ("h" * 200, "f" * 200, True)


def test_a_size_that_octal_digits_cannot_hold_is_written_otherwise() -> None:
    entry = tar.Entry(tar.REGULAR, b"large", b"", 0o644, 8**11 + 5, 0)
    header = next(member(entry))
    stream = tar.Bytes([header], "a test")
    assert next(tar.entries(stream)).size == entry.size


@pytest.mark.parametrize("size", [2, 4])
def test_a_file_that_changes_meanwhile_is_noticed(size: int) -> None:
    entry = tar.Entry(tar.REGULAR, b"x", b"", 0o644, size, 0)
    with pytest.raises(StoreError):
        written((entry, b"abc"))


def test_a_file_that_its_mode_closes_is_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "closed"
    path.write_bytes(b"x")
    path.chmod(0)
    assert b"".join(content_of(os.fsencode(path))) == b"x"
    assert path.stat().st_mode & 0o7777 == 0

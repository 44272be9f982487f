"""What Landlock stops and what it leaves, as root and as a plain user, in real files."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cwl_userspace.kernel import landlock
from tests.unit.forked import NOBODY, in_child, reachable

pytestmark = [
    pytest.mark.skipif(landlock.abi() < 3, reason="no Landlock here, or an early one"),
    pytest.mark.parametrize("plain_user", [False, True]),
]


@pytest.fixture
def place(tmp_path: Path, plain_user: bool) -> Path:
    """A directory with a writable part and a kept part, a file in each, owned by the user."""
    reachable(tmp_path)
    for part in ("open", "open/inner", "other", "kept", "kept/sub"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "file").write_text(part)
    if plain_user and os.geteuid() == 0:
        for path in tmp_path.rglob("*"):
            os.chown(path, NOBODY, NOBODY)
    return tmp_path


def refusal(act: Callable[[], object]) -> int:
    """The errno with which *act* fails; 0 when it does not."""
    try:
        act()
    except OSError as error:
        return error.errno or -1
    return 0


def test_nothing_can_be_made_changed_or_removed_outside(place: Path, plain_user: bool) -> None:
    kept = place / "kept"
    attempts: list[Callable[[], object]] = [
        lambda: (kept / "file").write_text("x"),
        lambda: (kept / "file").open("a"),
        lambda: (kept / "file").open("r+"),
        lambda: os.truncate(kept / "file", 0),
        lambda: os.open(kept / "file", os.O_RDONLY | os.O_TRUNC),
        lambda: (kept / "new").touch(),
        lambda: (kept / "new").mkdir(),
        lambda: (kept / "new").symlink_to("x"),
        lambda: os.mkfifo(kept / "new"),
        lambda: socket.socket(socket.AF_UNIX).bind(str(kept / "s")),
        lambda: (kept / "file").unlink(),
        lambda: (kept / "sub" / "file").rename(kept / "sub" / "file2"),
        lambda: (kept / "file").rename(place / "open" / "taken"),
        lambda: (place / "open" / "file").rename(kept / "file"),
        lambda: os.link(kept / "file", place / "open" / "link"),
        lambda: os.rmdir(kept / "sub"),
    ]

    def inside() -> list[int]:
        landlock.restrict_writes([str(place / "open")])
        return [refusal(attempt) for attempt in attempts]

    assert set(in_child(inside, plain_user=plain_user)) <= {errno.EACCES, errno.EXDEV}
    assert sorted(os.listdir(kept)) == ["file", "sub"]
    assert (kept / "file").read_text() == "kept"


def test_everything_works_inside_and_between_the_writable_places(
    place: Path, plain_user: bool
) -> None:
    first, second = place / "open", place / "other"

    def inside() -> None:
        landlock.restrict_writes([str(first), str(second)])
        (first / "file").write_text("longer than before")
        os.truncate(first / "file", 3)
        (first / "file").rename(first / "inner" / "moved")
        (first / "inner").rename(second / "inner")
        os.link(second / "inner" / "moved", first / "linked")
        (first / "made").mkdir()
        os.mkfifo(first / "made" / "fifo")
        socket.socket(socket.AF_UNIX).bind(str(first / "s"))
        (first / "made" / "link").symlink_to("/nowhere")
        subprocess.run(["rm", "-r", str(first / "made")], check=True)

    in_child(inside, plain_user=plain_user)
    assert (first / "linked").read_text() == "lon"


def test_reading_and_execution_are_as_before(place: Path, plain_user: bool) -> None:
    def inside() -> str:
        landlock.restrict_writes([])
        command = ["cat", str(place / "kept" / "file")]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    assert in_child(inside, plain_user=plain_user) == "kept"


def test_a_single_file_can_be_writable_but_not_removed(place: Path, plain_user: bool) -> None:
    file = place / "kept" / "file"

    def inside() -> tuple[int, int, int]:
        landlock.restrict_writes([str(file), "/dev/null"])
        Path("/dev/null").write_text("gone")
        return (
            refusal(lambda: file.write_text("new")),
            refusal(lambda: (place / "kept" / "sub" / "file").write_text("new")),
            refusal(file.unlink),
        )

    outcome = in_child(inside, plain_user=plain_user)
    assert outcome == (0, errno.EACCES, errno.EACCES)
    assert file.read_text() == "new"


def test_standard_streams_can_be_opened_again_when_they_are_named(
    place: Path, plain_user: bool
) -> None:
    script = "echo one; echo two > /dev/stdout; echo three > /dev/stderr"

    def inside() -> None:
        reader, writer = os.pipe()
        output = os.open(place / "kept" / "file", os.O_WRONLY | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(writer, 2)
        landlock.restrict_writes(["/proc/self/fd/1", "/proc/self/fd/2"])
        subprocess.run(["sh", "-c", script], check=True)
        assert os.read(reader, 100) == b"three\n"

    in_child(inside, plain_user=plain_user)
    assert "two\n" in (place / "kept" / "file").read_text()


def test_a_missing_path_is_an_error_and_restricts_nothing(place: Path, plain_user: bool) -> None:
    def inside() -> tuple[str, int]:
        with pytest.raises(FileNotFoundError) as caught:
            landlock.restrict_writes([str(place / "open"), str(place / "missing")])
        return caught.value.filename, refusal(lambda: (place / "kept" / "file").write_text("x"))

    assert in_child(inside, plain_user=plain_user) == (str(place / "missing"), 0)


def test_the_rights_grow_with_the_version(plain_user: bool) -> None:
    assert [landlock.write_rights(version) for version in (1, 2, 3, 99)] == [
        0x1FF2,
        0x3FF2,
        0x7FF2,
        0x7FF2,
    ]


@pytest.mark.skipif(landlock.abi() < 6, reason="no scopes here")
@pytest.mark.parametrize("writes_as_well", [False, True])
def test_what_keeps_signals_within_leaves_renames_from_directory_to_directory(
    place: Path, plain_user: bool, writes_as_well: bool
) -> None:
    def act() -> list[int]:
        if writes_as_well:
            landlock.restrict_writes([str(place / "open")])
        landlock.keep_within(abstract_sockets=True)
        inner = place / "open" / "inner"
        return [
            refusal(lambda: (inner / "file").rename(place / "open" / "moved")),
            refusal(lambda: os.link(place / "open" / "moved", inner / "linked")),
            refusal(lambda: (place / "kept" / "file").rename(place / "open" / "taken")),
        ]

    moved, linked, taken = in_child(act, plain_user=plain_user)
    assert (moved, linked) == (0, 0)
    assert bool(taken) == writes_as_well

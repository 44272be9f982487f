"""Files go into a container and out of it, and nowhere else, whatever links are in it."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import PATIENCE, Box, Home, Tar

OWN_ROOT = ("userns", "chroot")


@pytest.fixture
def made(home: Home) -> Iterator[str]:
    """A container of its own, which does not run."""
    home.call("create", "--name", "copied", "busybox")
    yield "copied"
    home.call("rm", "-f", "copied")


@pytest.fixture
def tree(home: Home, made: str) -> Path:
    return Path(home.call("inspect", "-p", made).text.strip())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory on the host with one of each kind."""
    top = tmp_path / "source"
    (top / "inner").mkdir(parents=True)
    (top / "file").write_text("of the host\n")
    (top / "file").chmod(0o640)
    os.utime(top / "file", (1_000_000_000, 1_000_000_000))
    (top / "inner" / "link").symlink_to("/etc/passwd")
    os.link(top / "file", top / "inner" / "same")
    os.mkfifo(top / "inner" / "pipe")
    (top / "inner").chmod(0o555)
    return top


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return [member.name for member in tar]


def test_a_tree_goes_in_and_out_as_it_is(
    home: Home, made: str, tree: Path, source: Path, tmp_path: Path
) -> None:
    assert home.call("cp", source, f"{made}:/data/new").text == ""
    assert home.call("cp", f"{made}:/data/new", tmp_path / "back").text == ""
    for top in (tree / "data" / "new", tmp_path / "back"):
        found = (top / "file").stat()
        assert (top / "file").read_text() == "of the host\n"
        assert (stat.S_IMODE(found.st_mode), found.st_mtime) == (0o640, 1_000_000_000)
        assert (top / "inner" / "same").stat().st_ino == found.st_ino
        assert os.readlink(top / "inner" / "link") == "/etc/passwd"
        assert stat.S_IMODE((top / "inner").stat().st_mode) == 0o555
        assert sorted(os.listdir(top / "inner")) == ["link", "same"]


def test_where_it_goes_is_by_dockers_rules(
    home: Home, made: str, tree: Path, source: Path, tmp_path: Path
) -> None:
    data = tree / "data"
    home.call("cp", source, f"{made}:/data")  # into a directory, under its name
    assert (data / "source" / "file").exists()
    home.call("cp", f"{source}/.", f"{made}:/data")  # its inside
    assert (data / "file").exists()
    home.call("cp", source / "file", f"{made}:/data/other")  # under another name
    home.call("cp", source / "file", f"{made}:data/inner/")  # a path is from the root
    assert (data / "other").exists() and (data / "inner" / "file").exists()
    (source / "file").chmod(0o600)
    (source / "file").write_text("newer\n")
    home.call("cp", "file", f"{made}:/data/other", cwd=source)  # a file is replaced
    assert (data / "other").read_text() == "newer\n"
    home.call("cp", f"{made}:/data/other", ".", cwd=tmp_path)
    assert (tmp_path / "other").read_text() == "newer\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("{source}", "copied:/etc/passwd"), "a directory does not replace a file"),
        (("{source}/file", "copied:/none/"), "the directory '/none/' is not there"),
        (("{source}/file", "copied:/none/file"), "no directory for '/none/file'"),
        (("{source}/none", "copied:/data"), "no file or directory"),
        (("{source}/file/.", "copied:/data"), "is no directory"),
        (("copied:/none", "{source}"), "no file or directory '/none'"),
        (("copied:/etc", "{source}/file"), "is no directory"),
        (("copied:/etc", "{source}/inner/pipe"), "is no directory"),
        (("copied:/etc/passwd", "{source}/inner/pipe"), "neither a directory nor a file"),
        (("nobody:/etc", "{source}"), "no container 'nobody'"),
        (("-", "copied:/etc/passwd"), "is no directory of the container"),
        (("-", "copied:/data"), "not a tar"),
        (("copied:/etc", "other:/etc"), "between a container and the host"),
        (("./copied:/etc", "."), "between a container and the host"),
        (("copied:/etc",), "two places"),
    ],
)
def test_what_cannot_be_copied_is_said(
    home: Home, made: str, source: Path, words: tuple[str, ...], said: str
) -> None:
    ran = home.call("cp", *(word.format(source=source) for word in words), stdin=b"x" * 1024)
    assert ran.code in (1, 125) and said in ran.complaint


def test_a_tar_comes_out_and_goes_in(home: Home, made: str, tree: Path) -> None:
    (tree / "data" / "kept").write_text("kept\n")
    assert names(home.call("cp", f"{made}:/data", "-").out) == ["data", "data/kept"]
    assert names(home.call("cp", f"{made}:/data/.", "-").out) == [".", "./kept"]
    assert names(home.call("cp", f"{made}:/data/kept", "-").out) == ["kept"]
    (tree / "to").symlink_to("home")
    archive = Tar().file("to/new", b"n").directory("d", 0o700).file("d/f", b"f").bytes()
    assert home.call("cp", "-", f"{made}:/", stdin=archive).text == ""
    assert (tree / "home" / "new").read_text() == "n" and (tree / "d" / "f").read_text() == "f"


def test_links_in_a_container_do_not_lead_out_of_it(
    home: Home, made: str, tree: Path, source: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("of the host")
    (tree / "absolute").symlink_to(outside)
    (tree / "climbing").symlink_to(f"{'../' * 20}{outside}")
    (tree / "file").symlink_to(outside / "secret")
    for name in ("absolute", "climbing"):
        assert home.call("cp", f"{made}:/{name}/secret", "-").code == 1
        assert home.call("cp", source / "file", f"{made}:/{name}/new").code == 1
    assert home.call("cp", "-L", f"{made}:/file", "-").code == 1
    archive = Tar().link("out", str(outside)).file("out/new", b"x").file("../../up", b"u").bytes()
    assert home.call("cp", "-", f"{made}:/data", stdin=archive).text == ""
    assert (tree / "data" / "up").exists() and (tree / str(outside)[1:] / "new").exists()
    assert home.call("cp", source / "file", f"{made}:/file").text == ""
    assert (tree / str(outside)[1:] / "secret").read_text() == "of the host\n", "below its root"
    assert home.call("cp", f"{made}:/absolute", tmp_path / "link").text == ""
    assert os.readlink(tmp_path / "link") == str(outside), "a link is copied as a link"
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").read_text() == "of the host"


def test_files_that_their_owner_may_not_read_come_along(
    home: Home, made: str, tree: Path, tmp_path: Path
) -> None:
    (tree / "data" / "closed").write_text("shadow\n")
    (tree / "data" / "closed").chmod(0o000)
    assert home.call("cp", f"{made}:/data/closed", tmp_path / "got").text == ""
    (tmp_path / "got").chmod(0o600)
    assert (tmp_path / "got").read_text() == "shadow\n"


def test_what_create_mounts_is_where_files_go(home: Home, source: Path, tmp_path: Path) -> None:
    work, kept = tmp_path / "work", tmp_path / "kept"
    for place in (work, kept):
        place.mkdir()
    words = ("-v", f"{work}:/data/work", "-v", f"{kept}:/data/kept:ro")
    home.call("create", "--name", "mounted", *words, "busybox")
    try:
        assert home.call("cp", source / "file", "mounted:/data/work/").text == ""
        assert (work / "file").read_text() == "of the host\n"
        assert names(home.call("cp", "mounted:/data/work", "-").out) == ["work", "work/file"]
        Path(home.call("inspect", "-p", "mounted").text.strip(), "way").symlink_to("data/work")
        assert names(home.call("cp", "mounted:/way/file", "-").out) == ["file"]
        refused = home.call("cp", source / "file", "mounted:/data/kept")
        assert refused.code == 1 and "read-only" in refused.complaint
    finally:
        home.call("rm", "mounted")


def test_a_running_container_is_copied_into_and_out_of(box: Box, source: Path) -> None:
    work = source.parent / "work"
    work.mkdir()
    script = "echo inside > /tmp/made; echo ready; until test -e /data/work/go; do sleep 0.1; done"
    options = ("--name", f"running-{box.engine}", "-v", f"{work}:/data/work")
    process = box.start_sh(f"mkdir /tmp/f; {script}; cat /tmp/f/source/inner/same", *options)
    name = f"running-{box.engine}"
    try:
        assert names(box.home.call("cp", f"{name}:/bin/../etc/passwd", "-").out) == ["passwd"]
        assert b"inside\n" in box.home.call("cp", f"{name}:/tmp/made", "-").out
        assert box.home.call("cp", source / "file", f"{name}:/data/work").text == ""
        assert (work / "file").read_text() == "of the host\n"
        if box.engine not in OWN_ROOT:
            refused = box.home.call("cp", source / "file", f"{name}:/home")
            assert refused.code == 1 and "read-only" in refused.complaint, (
                "the image is everybody's"
            )
            assert not (box.home.tree("busybox") / "home" / "file").exists()
        else:
            assert box.home.call("cp", source / "file", f"{name}:/etc/hosts").text == "", "a mount"
        assert box.home.call("cp", source, f"{name}:/tmp/f").text == ""
        (work / "go").touch()
        assert process.communicate(timeout=PATIENCE)[0] == b"of the host\n"
    finally:
        box.home.call("kill", name)
    assert not (box.home.tree("busybox") / "tmp" / "f").exists()


def test_a_directory_is_not_copied_into_itself(box: Box, tmp_path: Path) -> None:
    if box.engine not in OWN_ROOT:
        return
    (tmp_path / "file").write_text("once\n")
    name = f"itself-{box.engine}"
    process = box.start_sh("echo ready; sleep 99", "--name", name, "-v", f"{tmp_path}:/data")
    try:
        assert box.home.call("cp", tmp_path, f"{name}:/data/in").text == ""
        assert sorted(os.listdir(tmp_path / "in")) == ["file"]
    finally:
        box.home.call("kill", name)
        process.wait(PATIENCE)

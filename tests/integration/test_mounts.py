"""Bind mounts: every way to write them, every place to put them, and what must not be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.containers import Box

ODD = [
    "with space",
    "com,ma",
    "co:lon",
    "A:Gln2Cys",
    "new\nline",
    "ünï",
    '"quoted"',
    "a=b",
    "back\\slash",
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a file in it."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("of the host\n")
    return source


@pytest.mark.parametrize("suffix", ["", ":rw", ":Z", ":z", ":rw,z", ":delegated"])
def test_a_volume_can_be_read_and_written(box: Box, source: Path, suffix: str) -> None:
    ran = box.sh("cat /in/file; echo more > /in/new", "-v", f"{source}:/in{suffix}")
    assert ran.text == "of the host\n"
    assert (source / "new").read_text() == "more\n"
    assert (source / "new").stat().st_uid == os.geteuid()


@pytest.mark.every_engine
@pytest.mark.parametrize("options", ["-v={0}:/in:ro", "-v={0}:/in:ro,Z", "--mount={1},readonly"])
@pytest.mark.parametrize("user", [[], ["-u", "root"], ["-u", "1234"]])
def test_a_read_only_volume_cannot_be_changed(
    box: Box, source: Path, options: str, user: list[str]
) -> None:
    below = source / "below"
    below.mkdir()
    before = [(path, path.stat().st_mode, path.stat().st_mtime_ns) for path in source.rglob("*")]
    option = options.format(source, f"type=bind,source={source},target=/in")
    script = """
        cd /in
        echo x > file; echo x >> file; true > file; truncate -s 0 file; rm -f file; mv file gone
        echo x > new; mkdir dir; ln -s x link; ln file hard; ln file /tmp/hard; echo x > below/new
        chmod 777 file .; chown 0 file; touch -d 2001-01-01 file; rmdir below
        mount -o remount,rw /in; mount -o remount,rw,bind /in; umount /in; umount -l /in
        echo x > file; mount -t tmpfs none /in; unshare -Urm mount -o remount,rw,bind /in
        unshare -Urm sh -c 'mount -o remount,rw,bind /in; umount -l /in; echo x > /in/file'
        mknod p p; mkfifo f; cat /in/file"""
    ran = box.sh(script, option, *user)
    assert ran.out == b"of the host\n", ran
    after = [(path, path.stat().st_mode, path.stat().st_mtime_ns) for path in source.rglob("*")]
    assert after == before
    assert (source / "file").read_text() == "of the host\n"


def test_a_volume_below_a_read_only_one_keeps_its_own_mode(box: Box, source: Path) -> None:
    (source / "out").mkdir()
    other = source.with_name("other")
    other.mkdir()
    options = ["-v", f"{source}:/in:ro", "-v", f"{other}:/in/out"]
    ran = box.sh("echo a > /in/out/x; (echo b > /in/y) 2>/dev/null || echo kept", *options)
    assert ran.text == "kept\n"
    assert (other / "x").read_text() == "a\n" and os.listdir(source / "out") == []


def test_a_missing_source_of_a_volume_is_made(box: Box, tmp_path: Path) -> None:
    ran = box.sh("ls -A /in; echo x > /in/f", "-v", f"{tmp_path}/made/deep:/in")
    assert ran.text == "" and (tmp_path / "made/deep/f").exists()


def test_a_missing_source_of_mount_is_refused(box: Box, tmp_path: Path) -> None:
    ran = box.run(f"--mount=type=bind,source={tmp_path}/no,target=/in", "busybox", "true")
    assert ran.code == 125 and "does not exist" in ran.complaint
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "target",
    [
        "/in",
        "/jGeEGs",
        "/a/b/c/d",
        "/data/new",
        "/etc/deep/in",
        "/tmp/in",
        "/tmp/a/b",
        "/dev/shm/x",
    ],
)
def test_a_mount_point_is_made_wherever_it_is_asked_for(
    box: Box, source: Path, target: str
) -> None:
    assert box.run("-v", f"{source}:{target}", "busybox", "cat", f"{target}/file").text
    file = f"{target}-file/x.txt"
    assert box.run("-v", f"{source}/file:{file}", "busybox", "cat", file).text == "of the host\n"


def test_a_file_covers_a_file_and_a_directory_a_directory(box: Box, source: Path) -> None:
    options = ["-v", f"{source}/file:/etc/passwd", "-v", f"{source}:/bin/sub"]
    assert box.sh("cat /etc/passwd /bin/sub/file", *options).text == "of the host\n" * 2
    assert box.sh("ls /etc", "-v", f"{source}:/etc").text.split() == ["file"]


def test_the_later_of_two_volumes_at_one_place_wins(box: Box, source: Path) -> None:
    other = source.with_name("other")
    other.mkdir()
    options = ["-v", f"{other}:/in", "-v", f"{source}:/in/"]
    assert box.run(*options, "busybox", "ls", "/in").text == "file\n"


def test_nested_volumes_work_in_any_order(box: Box, source: Path, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/f").write_text("inner\n")
    options = ["-v", f"{tmp_path}/inner:/a/b/c", "-v", f"{source}:/a"]
    assert box.run(*options, "busybox", "cat", "/a/b/c/f", "/a/file").text == "inner\nof the host\n"


def test_places_below_the_output_directory_are_made_on_the_host(box: Box, tmp_path: Path) -> None:
    outdir, source = tmp_path / "out", tmp_path / "in.txt"
    outdir.mkdir()
    source.write_text("text\n")
    (tmp_path / "dir").mkdir()
    options = [f"--volume={outdir}:/jGeEGs", f"--volume={source}:/jGeEGs/sub/dir/in.txt"]
    options += [f"--volume={tmp_path}/dir:/jGeEGs/there/dir", "--workdir=/jGeEGs"]
    assert box.sh("cat sub/dir/in.txt; ls there", *options).text == "text\ndir\n"
    assert (outdir / "sub/dir/in.txt").read_bytes() == b""
    assert list((outdir / "there/dir").iterdir()) == []
    assert source.read_text() == "text\n"


@pytest.mark.every_engine
@pytest.mark.parametrize("name", ODD)
def test_odd_characters_in_paths_work_in_volumes(box: Box, tmp_path: Path, name: str) -> None:
    source, target = tmp_path / name / name, f"/var/lib/cwl/{name}/{name}"
    source.parent.mkdir()
    source.write_text("odd\n")
    outdir = tmp_path / "out"
    outdir.mkdir()
    options = [f"--volume={outdir}:/jGeEGs", f"--volume={source}:{target}"]
    options += [f"--volume={source}:/jGeEGs/{name}/x"]
    ran = box.run(*options, "busybox", "cat", target, f"/jGeEGs/{name}/x")
    assert ran.text == "odd\nodd\n"
    assert (outdir / name / "x").exists()


@pytest.mark.parametrize("name", ODD)
def test_odd_directories_work_as_working_directory(box: Box, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    options = [f"--volume={tmp_path / name}:/out/{name}", f"--workdir=/out/{name}"]
    assert box.sh("pwd; echo x > made", *options).text == f"/out/{name}\n"
    assert (tmp_path / name / "made").exists()


@pytest.mark.parametrize("name", [name for name in ODD if "\n" not in name])
def test_odd_characters_in_paths_work_in_quoted_mounts(box: Box, tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_text("odd\n")
    quoted = [
        f'"{field}={path}"'.replace("QUOTE", '""')
        for field, path in (
            ("source", str(source).replace('"', "QUOTE")),
            ("target", f"/in/{name}".replace('"', "QUOTE")),
        )
    ]
    ran = box.run(f"--mount=type=bind,{','.join(quoted)},readonly", "busybox", "cat", f"/in/{name}")
    assert ran.text == "odd\n"


def test_bytes_that_are_no_text_work_in_paths(box: Box, tmp_path: Path) -> None:
    name = b"caf\xe9"
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as file:
        file.write(b"bytes\n")
    assert box.run(b"-v" + path + b":/in/x", "busybox", "cat", b"/in/x").text == "bytes\n"
    ran = box.run(b"-v" + path + b":/in/" + name, "busybox", "cat", b"/in/" + name)
    if box.engine in ("runc", "crun"):  # their configuration is JSON
        assert ran.code == 125 and "not UTF-8" in ran.complaint
    else:
        assert ran.text == "bytes\n"


def test_a_source_that_is_a_link_shows_what_it_leads_to(box: Box, source: Path) -> None:
    link = source.with_name("link")
    link.symlink_to(source)
    assert box.run("-v", f"{link}:/in", "busybox", "cat", "/in/file").text == "of the host\n"


@pytest.mark.every_engine
def test_a_read_only_root_keeps_all_but_tmp_from_being_written(box: Box, source: Path) -> None:
    script = """
        (for d in / /etc /data /home /bin /wd/dir; do echo x > $d/new; done) 2>/dev/null
        ls / /etc /data /home /bin /wd/dir | grep -c '^new$'
        echo x > /tmp/a && echo y > /var/tmp/b && echo z > /out/c && cat /tmp/a /var/tmp/b
        echo n > /dev/null && echo w > /dev/shm/s && cat /dev/shm/s"""
    for user in ([], ["-u", "root"]):
        ran = box.sh(script, "--read-only", "-v", f"{source}:/out", "-w", "/wd/dir", *user)
        assert ran.text == "0\nx\ny\nw\n"
    assert box.sh("mount -o remount,rw /; true > /x", "--read-only=true", "-u", "root").code != 0

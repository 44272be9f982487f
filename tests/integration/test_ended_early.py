"""A command that is told to end in the middle, or that finds no room for what it has to write."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests import tars
from tests.command import Command, Result
from tests.containers import busybox
from tests.images import NAME, docker_classic, oci_directory

ARCHIVE = docker_classic([tars.layer(tars.file("big", os.urandom(1 << 20)))])
NO_ROOM = b"cwl-userspace: no space left on device; make room, or choose another place\n"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def half_loaded(command: Command) -> subprocess.Popen[bytes]:
    """A ``load`` that has begun in a private directory and waits for the rest of its archive."""
    process = subprocess.Popen(
        command.words("load"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=command.environ,
    )
    assert process.stdin is not None
    process.stdin.write(ARCHIVE[: len(ARCHIVE) // 2])
    process.stdin.flush()
    end = time.monotonic() + 30
    while not command.listing("tmp") and time.monotonic() < end:
        time.sleep(0.01)
    assert command.listing("tmp") and process.poll() is None
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_what_is_told_to_end_leaves_nothing_in_the_store(
    command: Command, number: signal.Signals
) -> None:
    process = half_loaded(command)
    process.send_signal(number)
    assert process.communicate(timeout=20) == (b"", b"")
    assert process.returncode == 128 + number
    assert command.listing("tmp") == command.listing("leases") == []


def into(place: str, command: Command, *words: str, module: bool = False) -> Result:
    """What the installed program, or the module, writes at its end, with its output gathered."""
    program = [str(Path(sys.executable).with_name("cwl-userspace")), *words]
    with open(place, "wb") as out:
        return subprocess.run(
            command.words(*words) if module else program,
            stdout=out,
            stderr=subprocess.PIPE,
            env={k: v for k, v in command.environ.items() if k != "PYTHONUNBUFFERED"},
            timeout=30,
            check=False,
        )


def test_an_answer_that_finds_no_room_is_an_error_of_one_line(command: Command) -> None:
    assert command.load(ARCHIVE).returncode == 0
    for words in (["images"], ["inspect", NAME], ["help"], ["save", NAME]):
        result = into("/dev/full", command, *words)
        assert (result.returncode, result.stderr) == (125, NO_ROOM), words


def test_a_module_that_finds_no_room_for_its_answer_ends_as_the_command_does(
    command: Command,
) -> None:
    result = into("/dev/full", command, "images", module=True)
    assert (result.returncode, result.stderr) == (125, NO_ROOM)


def test_an_archive_goes_into_a_pipe_by_its_name_and_stays_out_of_its_place(
    command: Command, tmp_path: Path
) -> None:
    assert command.load(ARCHIVE).returncode == 0
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert command("save", "-o", pipe, NAME).returncode == 0
    reader.join(20)
    assert read == [command("save", NAME).stdout] and stat.S_ISFIFO(pipe.lstat().st_mode)
    out = tmp_path / "out"
    assert into(str(out), command, "save", "-o", "/dev/stdout", NAME).returncode == 0
    assert out.read_bytes() == read[0]


def test_nobody_else_may_write_in_a_store_whatever_the_umask(command: Command) -> None:
    config = command.top / "config" / "cwl-userspace"
    config.mkdir(parents=True)
    local = command.top / "local"
    (config / "config.yml").write_text(f"keep_blobs: true\nlocal_store: {local}\n")
    image = oci_directory(command.top / "image", [tars.layer(tars.file("bin/x", b"no program"))])
    for words in (["load", "-i", image], ["run", NAME, "/bin/x"]):
        process = subprocess.run(
            command.words(*words), env=command.environ, umask=0, timeout=30, check=False
        )
        assert process.returncode == (0 if words[0] == "load" else 126)
    made = [*(command.store.rglob("*")), *local.rglob("*"), *(command.top / "cache").rglob("*")]
    names = {path.name for path in made}
    assert {"contents.zst", "tree.json"} <= {p.name for p in local.rglob("*")} and "x" in names
    assert len(list((command.store / "blobs/sha256").iterdir())) == 3  # the layer is kept
    files = [path for path in (command.store, local, *made) if not path.is_symlink()]
    assert [path for path in files if path.stat().st_mode & stat.S_IWOTH] == []


FULL = """
mount -t tmpfs -o size=4k none "$TMPDIR"
echo full > "$TMPDIR/full"
exec "$0" -m cwl_userspace --engine proot run test:1 true
"""


def test_a_full_temporary_directory_is_named(command: Command, tmp_path: Path) -> None:
    program = tars.layer(tars.file("bin/true", busybox(), 0o755))
    assert command.load(docker_classic([program])).returncode == 0
    place = tmp_path / "small"
    place.mkdir()
    result = subprocess.run(
        ["unshare", "-Urm", "sh", "-euc", FULL, sys.executable],
        env={**command.environ, "TMPDIR": str(place)},
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert result.returncode == 125 and result.stderr.count(b"\n") == 1, result
    assert b"No space left" in result.stderr and bytes(place) in result.stderr
    assert b"set TMPDIR" in result.stderr


def test_a_container_that_cannot_be_written_down_is_not_detached(command: Command) -> None:
    assert command.load(ARCHIVE).returncode == 0
    result = command("run", "-d", NAME, "true", XDG_STATE_HOME="/proc/self")
    assert (result.returncode, result.stdout) == (125, b"")
    assert result.stderr.count(b"\n") == 1 and b"set XDG_STATE_HOME" in result.stderr


def test_a_limit_of_a_files_size_is_no_full_disk(command: Command) -> None:
    result = subprocess.run(
        ["sh", "-c", 'ulimit -f 100; exec "$@"', "sh", *command.words("load")],
        input=ARCHIVE,
        capture_output=True,
        env=command.environ,
        timeout=50,
        check=False,
    )
    assert b"ulimit -f" in command.assert_refused(result).encode()

"""Standard streams: the tool's own, byte for byte, with nothing of ours among them."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.containers import Box

KIND = "stat -L -c %F /proc/self/fd/0"


def read_terminal(master: int, patience: float = 20.0) -> bytes:
    """All that a terminal shows until nobody has it open any more."""
    shown = b""
    while select.select([master], [], [], patience)[0]:
        try:
            data = os.read(master, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data
    return shown


@pytest.mark.every_engine
def test_bytes_pass_unchanged_in_all_directions(box: Box) -> None:
    data = bytes(range(256)) * 4000
    assert box.run("busybox", "cat", stdin=data) == (0, data, b"")
    assert box.run("busybox", "sh", "-c", "cat >&2", stdin=data) == (0, b"", data)


@pytest.mark.parametrize("option", [[], ["-i"]])
def test_a_file_arrives_as_a_pipe(box: Box, tmp_path: Path, option: list[str]) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"line\n" * 100_000)
    with file.open("rb") as stream:
        ran = box.sh(f"{KIND}; wc -c", *option, stdin=stream.fileno())
    assert ran.text.split() == ["fifo", "500000"]


def test_a_pipe_and_dev_null_arrive_as_they_are(box: Box) -> None:
    assert box.sh(f"{KIND}; wc -c", stdin=b"12345").text == "fifo\n5\n"
    with open(os.devnull, "rb") as stream:
        ran = box.sh(f"{KIND}; wc -c", stdin=stream.fileno())
    assert ran.text == "character special file\n0\n"


@pytest.mark.parametrize("size", [100, 1_000_000])
def test_what_the_tool_did_not_read_is_given_back(box: Box, tmp_path: Path, size: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789" * (size // 10))
    with file.open("rb") as stream:
        ran = box.run("busybox", "dd", "bs=1", "count=13", "status=none", stdin=stream.fileno())
        assert ran.text == "0123456789012"
        assert os.lseek(stream.fileno(), 0, os.SEEK_CUR) == 13
        assert box.run("busybox", "head", "-c", "3", stdin=stream.fileno()).text == "345"


def test_commands_of_a_script_share_a_file_as_input(box: Box, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("a\nb\nc\n")
    command = " ".join(os.fsdecode(w) for w in box.home.command(*box.words("busybox")))
    script = f"while read -r word; do {command} echo $word; done < words"
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=box.home.environment, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\nb\nc\n", b"")


def test_a_closed_input_is_an_empty_one(box: Box) -> None:
    command = box.home.command(*box.words("busybox", "sh", "-c", "wc -c; echo >&2 fine"))
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command],
        env=box.home.environment,
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0\n", b"fine\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_outputs_do_no_harm(box: Box, tmp_path: Path, closed: str) -> None:
    script = "echo x > /out/made; echo y; echo z >&2; exit 7"
    command = box.home.command(*box.words("-v", f"{tmp_path}:/out", "busybox", "sh", "-c", script))
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
        env=box.home.environment,
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 7 and (tmp_path / "made").read_text() == "x\n"
    assert os.listdir(tmp_path) == ["made"]


def test_a_tool_that_ignores_its_input_returns_at_once(box: Box) -> None:
    reader, writer = os.pipe()
    start = time.monotonic()
    assert box.run("busybox", "echo", "done", stdin=reader).text == "done\n"
    assert time.monotonic() - start < 5
    os.close(writer)
    os.close(reader)


def test_a_reader_that_goes_away_ends_the_tool(box: Box) -> None:
    process = box.start("busybox", "yes")
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 2) == b"y\n"
    process.stdout.close()
    assert process.wait(20) == 128 + 13


def test_a_large_output_to_a_slow_reader_arrives_whole(box: Box) -> None:
    process = box.start("busybox", "head", "-c", "3000000", "/dev/zero")
    time.sleep(0.5)
    assert process.stdout is not None
    size = 0
    while data := os.read(process.stdout.fileno(), 50_000):
        size += len(data)
    assert (process.wait(20), size) == (0, 3_000_000)


def test_files_for_output_hold_the_tools_words_alone(box: Box, tmp_path: Path) -> None:
    outputs = [tmp_path / "out", tmp_path / "err"]
    options = ["--network=none", "--memory=1g", "-v", f"{tmp_path}:/in:ro", "--on-unmet=warn"]
    with outputs[0].open("wb") as out, outputs[1].open("wb") as err:
        process = box.start(
            *options, "busybox", "sh", "-c", "echo o; echo e >&2", stdout=out, stderr=err
        )
        assert process.wait(30) == 0
    assert [path.read_bytes() for path in outputs] == [b"o\n", b"e\n"]


@pytest.mark.every_engine
def test_the_tool_can_open_its_streams_again_by_name(box: Box, tmp_path: Path) -> None:
    script = "echo a > /dev/stdout; echo b > /dev/stderr; echo c > /dev/fd/1; cat /dev/stdin"
    assert box.sh(script, stdin=b"in") == (0, b"a\nc\nin", b"b\n")
    with (tmp_path / "out").open("wb") as out:
        process = box.start("busybox", "sh", "-c", "echo a >> /dev/stdout", stdout=out)
        assert process.wait(30) == 0
    assert (tmp_path / "out").read_bytes() == b"a\n"


@pytest.mark.every_engine
def test_a_terminal_that_is_asked_for_is_one_inside(box: Box) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && echo yes; echo $TERM; stty size"
    master, slave = pty.openpty()
    os.system(f"stty rows 33 cols 99 < {os.ttyname(slave)}")
    process = box.start(
        "-t", "busybox", "sh", "-c", script, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    shown = read_terminal(master)
    assert process.wait(20) == 0
    assert shown == b"yes\r\nxterm\r\n33 99\r\n"
    os.close(master)


@pytest.mark.every_engine
def test_keys_reach_the_tool_and_interrupt_it(box: Box) -> None:
    script = "read line; echo got $line; sleep 30; echo never"
    master, slave = pty.openpty()
    words = box.home.command(*box.words("-it", "busybox", "sh", "-c", script))
    helper = "import os,pty,sys,fcntl,termios;os.setsid();fcntl.ioctl(0,termios.TIOCSCTTY,0);"
    helper += "os.execv(sys.argv[1],sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", helper, *map(os.fsdecode, words)],
        env=box.home.environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    time.sleep(1.5)
    os.write(master, b"a key\r")
    shown = b""
    while b"got a key" not in shown:
        assert select.select([master], [], [], 20)[0], shown
        shown += os.read(master, 4096)
    os.write(master, b"\x03")
    assert process.wait(20) == 130
    os.close(slave)
    assert b"never" not in read_terminal(master)
    os.close(master)


def test_a_terminal_of_the_callers_is_passed_on_without_asking(box: Box) -> None:
    master, slave = pty.openpty()
    process = box.start("busybox", "sh", "-c", "test -t 0 && echo yes", stdin=slave)
    assert process.stdout is not None and process.stdout.read() == b"yes\n"
    assert process.wait(20) == 0
    os.close(slave)
    os.close(master)


def test_a_terminal_can_be_had_without_one_of_the_callers(box: Box) -> None:
    ran = box.run("-t", "busybox", "sh", "-c", "test -t 1 && echo yes", stdin=b"")
    assert (ran.code, ran.out) == (0, b"yes\r\n")

"""``-t``: a shell in a container is used as one at the host's terminal, and leaves it as it was."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cwl_userspace.memory import below
from tests.containers import Box, Home, Tar, Word, all_gone, marker
from tests.terminals import Person


@pytest.fixture(scope="session")
def bash(home: Home) -> str:
    """An image with the host's bash and the libraries that it needs."""
    tar, made = Tar(), {"."}
    paths = ["/bin/bash", "/bin/sleep", "/bin/cat"]
    for path in list(paths):
        for word in subprocess.check_output(["ldd", path], text=True).split():
            if word.startswith("/") and word not in paths:
                paths.append(word)
    for path in paths:
        name = path.lstrip("/")
        for above in [str(p) for p in Path(name).parents][::-1]:
            if above not in made:
                made.add(above)
                tar.directory(above)
        tar.file(name, Path(path).read_bytes(), 0o755)
    return home.add("bash", tar.bytes())


@pytest.fixture
def person(box: Box) -> Iterator[Callable[..., Person]]:
    """Start a command at a terminal; those who are still there at the end leave."""
    people: list[Person] = []

    def start(*words: Word, **given: str) -> Person:
        people.append(Person(box, *words, **given))
        return people[-1]

    yield start
    for one in people:
        one.leave()


# proot starts its programs again whenever they stop (it does not know PTRACE_LISTEN).
@pytest.mark.parametrize("shell", ["busybox sh", "bash"])
def test_a_shell_stops_and_continues_its_jobs(home: Home, bash: str, shell: str) -> None:
    image = ["bash", "bash", "--norc"] if shell == "bash" else ["busybox", "sh"]
    person = Person(Box(home, "userns"), "-it", "-e", "PS1=$ ", *image)
    try:
        assert person.sees("$ ")
        person.type("sleep 1000\r")
        assert person.sees("sleep 1000")
        time.sleep(0.7)
        person.type("\x1a")
        assert person.sees("topped")
        person.type("jobs; echo al''ive\r")
        assert person.sees("topped") and person.sees("alive")
        person.type("bg; echo n''ext\r")
        assert person.sees("next")
        person.type("fg\r")
        assert person.sees("sleep 1000")
        time.sleep(0.7)
        person.type("\x03")
        person.type("echo code $?\r")
        assert person.sees("code 130")
        person.type("exit 7\r")
        assert person.wait() == 7
    finally:
        person.leave()


def test_an_interrupt_ends_the_job_and_not_the_shell(person: Callable[..., Person]) -> None:
    one = person("-it", "-e", "PS1=$ ", "busybox", "sh")
    assert one.sees("$ ")
    one.type("sleep 1000\r")
    assert one.sees("sleep 1000")
    time.sleep(1)
    one.type("\x03")
    one.type("echo still h''ere; exit 3\r")
    assert one.sees("still here")
    assert one.wait() == 3


def test_a_new_size_of_the_terminal_is_told(person: Callable[..., Person]) -> None:
    script = "trap 'stty size; exit 0' WINCH; echo rea''dy; while :; do sleep 0.1; done"
    one = person("-it", "busybox", "sh", "-c", script)
    assert one.sees("ready")
    one.resize(41, 111)
    assert one.sees("41 111")
    assert one.wait() == 0


def test_the_terminal_is_as_it_was_after_a_kill_of_the_program(
    person: Callable[..., Person],
) -> None:
    one = person("-it", "busybox", "sh", "-c", "stty raw -echo; echo rea''dy; kill -9 $$")
    assert one.wait() == 128 + signal.SIGKILL


def test_the_terminal_is_as_it_was_after_an_error(person: Callable[..., Person]) -> None:
    one = person("-it", "busybox", "no-such-program")
    assert one.sees("no program 'no-such-program'")
    assert one.wait() == 127


def test_the_terminal_is_as_it_was_after_a_kill_of_the_run(person: Callable[..., Person]) -> None:
    word = marker()
    one = person("-it", "-e", f"MARKER={word}", "busybox", "sh", "-c", "echo rea''dy; sleep 1000")
    assert one.sees("ready")
    assert one.modes != one.modes_before
    one.process.kill()
    one.process.wait()
    assert all_gone(word)
    end = time.monotonic() + 5
    while one.modes != one.modes_before and time.monotonic() < end:
        time.sleep(0.05)
    assert one.modes == one.modes_before


def test_a_stop_of_the_run_stops_it_alone(person: Callable[..., Person]) -> None:
    script = "echo rea''dy; sleep 3; echo went o''n; sleep 1000"
    at_home = '"$@"; sleep 6; kill %1; fg; echo "code $?"'
    one = person("busybox", "sh", "-c", script, shell=at_home)
    assert one.sees("ready")
    one.type("\x1a")
    assert one.sees("Stopped")
    assert one.sees("went on")
    assert one.sees("code 143")


def test_a_terminal_with_an_input_that_is_none_is_refused(box: Box) -> None:
    ran = box.run("-it", "busybox", "true", stdin=b"")
    assert ran.code == 125 and "terminal" in ran.complaint


def test_a_reader_that_leaves_ends_a_program_at_a_terminal(box: Box) -> None:
    process = box.start("-t", "busybox", "yes")
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 3) == b"y\r\n"
    process.stdout.close()
    assert process.wait(20) == 128 + signal.SIGPIPE


def test_an_output_that_is_full_ends_a_program_at_a_terminal(box: Box) -> None:
    with open("/dev/full", "wb") as full:
        process = box.start("-t", "busybox", "yes", stdout=full, stderr=subprocess.PIPE)
        assert process.wait(20) == 125
    assert process.stderr is not None
    said = process.stderr.read()
    assert b"standard output cannot be written: No space left" in said and said.count(b"\n") == 1


def test_an_output_that_is_full_is_the_programs_to_tell(box: Box) -> None:
    with open("/dev/full", "wb") as full:
        process = box.start("busybox", "echo", "x", stdout=full, stderr=subprocess.PIPE)
        assert process.wait(20) == 1
    assert process.stderr is not None and b"No space left" in process.stderr.read()


def test_a_paste_that_nobody_reads_blocks_nothing(box: Box) -> None:
    keyboard, terminal = pty.openpty()
    script = "stty raw -echo; echo rea''dy; sleep 1; echo o''ver; exit 5"
    process = box.start("-it", "busybox", "sh", "-c", script, stdin=terminal, stdout=terminal)
    os.set_blocking(keyboard, False)
    shown = b""
    end = time.monotonic() + 40
    while process.poll() is None and time.monotonic() < end:
        try:
            os.write(keyboard, b"x" * 1000)
        except BlockingIOError:
            pass
        try:
            shown += os.read(keyboard, 4096)
        except BlockingIOError:
            time.sleep(0.01)
    if process.poll() is None:
        process.kill()
    try:
        shown += os.read(keyboard, 65536)
    except BlockingIOError:
        pass
    assert process.wait() == 5 and b"over" in shown
    os.close(keyboard)
    os.close(terminal)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2])
def test_other_signals_are_passed_on_too(box: Box, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.1; done"
    process = box.start_sh(script)
    process.send_signal(number)
    assert process.wait(10) == 9
    assert process.stdout is not None and process.stdout.read() == f"got {name}\n".encode()


def test_ended_orphans_are_reaped_at_once(box: Box) -> None:
    script = "for i in 1 2 3 4 5 6; do (sleep 0.1 &) ; done; sleep 1.5; echo ready; sleep 1000"
    process = box.start_sh(script)
    states = [
        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        for pid in below(process.pid)
    ]
    process.kill()
    assert "Z" not in states

"""The server that forks starts containers as the command does, and none outlives it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cwl_userspace.cwl.launcher import Job, Launcher, Unavailable
from cwl_userspace.runs import start_time
from tests.containers import Home, Word, all_gone, marker, waiting, with_marker
from tests.integration.test_lifetime import tree

PATIENCE = 30
SHOW_MODULES = """
import os, sys
from importlib import import_module
from cwl_userspace.launchserver import USED_BY_A_RUN
from cwl_userspace.cli import main
from cwl_userspace.process import Usage
for name in USED_BY_A_RUN:
    import_module(name)
before = set(sys.modules)
code = main(sys.argv[1:], Usage(sampled=True))
print(code, *sorted(set(sys.modules) - before))
"""


class Server:
    """A server, and jobs in containers of it whose output is in files."""

    def __init__(self, home: Home, place: Path) -> None:
        self.home = home
        self.place = place
        self.launcher = Launcher()
        self.number = 0

    def start(
        self,
        *words: Word,
        stdin: Path | str = os.devnull,
        environment: Mapping[str, str] | None = None,
    ) -> Job:
        self.number += 1
        args = ["cwl-userspace", *map(str, words)]
        names = [stdin, self.place / f"out{self.number}", self.place / f"err{self.number}"]
        flags = [os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT]
        streams = [os.open(name, flag) for name, flag in zip(names, flags, strict=True)]
        try:
            given = {**self.home.environment, **(environment or {})}
            job, pid = self.launcher.start(args, streams, given, str(self.place))
        finally:
            for fd in streams:
                os.close(fd)
        return Job(args, job, pid, None)

    def sh(self, script: str, **given: Any) -> Job:
        """A shell script in a container."""
        return self.start("run", "-i", "busybox", "sh", "-c", script, **given)

    def ready(self, script: str) -> Job:
        """The same, once it has printed the line ``ready``."""
        job = self.sh(script)
        assert any(self.output() == "ready\n" or job.poll() for _ in waiting(PATIENCE))
        assert job.poll() is None, self.error()
        return job

    def output(self) -> str:
        return (self.place / f"out{self.number}").read_text()

    def error(self) -> str:
        return (self.place / f"err{self.number}").read_text()


@pytest.fixture
def server(home: Home, tmp_path: Path) -> Iterator[Server]:
    """One server for a test."""
    server = Server(home, tmp_path)
    yield server
    server.launcher.close()


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("no-such-program", 127)],
)
def test_the_exit_code_is_the_commands(server: Server, script: str, code: int) -> None:
    job = server.sh(script)
    assert job.wait(PATIENCE) == code == job.poll() == job.returncode


def test_the_standard_streams_are_the_jobs_own(server: Server) -> None:
    (server.place / "input").write_text("some input\n")
    job = server.sh("cat; echo an error >&2", stdin=server.place / "input")
    assert job.wait(PATIENCE) == 0
    assert (server.output(), server.error()) == ("some input\n", "an error\n")


def test_the_directory_and_the_variables_are_those_of_the_request(server: Server) -> None:
    job = server.start("run", "--cidfile", "here", "busybox", "true")
    assert job.wait(PATIENCE) == 0
    assert len((server.place / "here").read_text()) == 64
    job = server.start("run", "busybox", "true", environment={"CWL_USERSPACE_ENGINE": "nonsense"})
    assert job.wait(PATIENCE) == 125
    assert "no engine 'nonsense'" in server.error()


def test_arguments_may_be_longer_than_a_packet(server: Server) -> None:
    words = ["word" * 1000] * 100
    job = server.start("run", "busybox", "sh", "-c", "echo $# ${#1}", "sh", *words)
    assert job.wait(PATIENCE) == 0
    assert server.output() == "100 4000\n"


def test_an_image_that_is_not_there_is_said_on_the_jobs_standard_error(server: Server) -> None:
    job = server.start("run", "127.0.0.1:9/no/such:1", "true")
    assert job.wait(PATIENCE) == 125
    assert server.error().startswith("cwl-userspace: ") and "127.0.0.1:9" in server.error()


def test_a_signal_reaches_the_tool_however_early_it_comes(server: Server) -> None:
    jobs = [server.sh("sleep 1000") for _ in range(10)]
    for job in jobs:
        job.terminate()
    assert all(job.wait(PATIENCE) in (-signal.SIGTERM, 128 + signal.SIGTERM) for job in jobs)


def test_the_tool_may_handle_a_signal(server: Server) -> None:
    job = server.ready("trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done")
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(0.1)
    assert job.poll() is None
    job.terminate()
    assert job.wait(PATIENCE) == 9


def test_a_kill_leaves_nothing_of_a_job(server: Server) -> None:
    word = marker()
    job = server.ready(tree(word, "exec sleep 1000"))
    assert len(with_marker(word)) >= 4
    job.kill()
    assert job.wait(PATIENCE) == -signal.SIGKILL
    assert all_gone(word, PATIENCE)
    job.kill()  # a job that has ended cannot be signalled, and nobody else is


def test_the_end_of_the_server_is_that_of_its_jobs(server: Server) -> None:
    word = marker()
    server.ready(tree(word, "exec sleep 1000"))
    server.launcher.close()
    assert all_gone(word, PATIENCE)


def test_a_killed_server_takes_its_jobs_along_and_starts_none(server: Server) -> None:
    word = marker()
    job = server.ready(tree(word, "exec sleep 1000"))
    os.kill(server.launcher.pid, signal.SIGKILL)
    assert job.wait(PATIENCE) == -signal.SIGKILL
    assert all_gone(word, PATIENCE)
    with pytest.raises(Unavailable):
        server.sh("true")


def test_a_terminals_signals_do_not_end_the_server(server: Server) -> None:
    assert server.sh("true").wait(PATIENCE) == 0
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        os.kill(server.launcher.pid, number)
    assert server.sh("exit 3").wait(PATIENCE) == 3


def test_what_is_left_of_a_job_that_has_ended_does_not_hold_up_the_next(server: Server) -> None:
    """All at once: a job's end, a signal for it, and a request, which gets its descriptor."""
    job = server.sh("sleep 1000")
    os.kill(server.launcher.pid, signal.SIGSTOP)
    os.kill(job.pid, signal.SIGKILL)
    assert any(start_time(job.pid) == "" for _ in waiting(PATIENCE))
    job.terminate()
    codes: list[int] = []
    following = threading.Thread(target=lambda: codes.append(server.sh("exit 3").wait(PATIENCE)))
    following.start()
    control, unread = server.launcher._control, bytes(4)
    assert any(fcntl.ioctl(control, termios.TIOCOUTQ, unread) != unread for _ in waiting(PATIENCE))
    os.kill(server.launcher.pid, signal.SIGCONT)
    following.join(PATIENCE + 5)
    assert codes == [3]
    assert job.wait(PATIENCE) == -signal.SIGKILL


def test_no_descriptor_stays_open(server: Server) -> None:
    def descriptors() -> list[int]:
        pids = (os.getpid(), server.launcher.pid)
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]

    job = server.sh("sleep 1000")
    before = descriptors()
    jobs = [server.sh("true") for _ in range(10)]
    assert [job.wait(PATIENCE) for job in jobs] == [0] * 10
    assert any(descriptors() == before for _ in waiting(PATIENCE)), (descriptors(), before)
    job.kill()


def test_a_program_gets_no_descriptor_but_its_standard_streams(server: Server) -> None:
    other = server.sh("sleep 1000")
    job = server.sh("ls /proc/self/fd")
    assert job.wait(PATIENCE) == 0
    assert server.output().split() == ["0", "1", "2", "3"]  # the last is the list's own
    other.kill()


def test_the_memory_of_a_long_job_is_that_of_all_its_processes(server: Server) -> None:
    hold = "dd if=/dev/zero of=/dev/null bs=50M count=1000000"
    job = server.sh(f"{hold} & {hold} & sleep 3; kill %1 %2")
    assert job.wait(PATIENCE * 2) == 0
    assert 95 << 20 < job.memory < 200 << 20


def test_the_memory_of_a_short_job_is_that_of_its_largest_process(server: Server) -> None:
    job = server.sh("dd if=/dev/zero of=/dev/null bs=60M count=1")
    assert job.wait(PATIENCE) == 0
    assert 60 << 20 < job.memory < 100 << 20


def test_many_threads_may_wait_for_one_job(server: Server) -> None:
    job = server.sh("sleep 0.5; exit 5")
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(job.wait())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert codes == [5] * 8


def test_a_job_need_not_import_what_the_server_has(home: Home) -> None:
    assert home.call("--engine", "userns", "run", "busybox", "true").text == ""
    words = ["run", "-i", "--net=none", "--read-only=true", "--env=A=b", "busybox", "true"]
    done = subprocess.run(
        [sys.executable, "-I", "-c", SHOW_MODULES, "--engine", "userns", *words],
        env={**home.environment, "CWL_USERSPACE_CALLER": "cwltool"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["0"], done

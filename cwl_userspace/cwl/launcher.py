"""The client of ``launchserver``: containers started by forks, and not by a new Python for each."""

from __future__ import annotations

import array
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

# Modules are found as this process finds them; no directory that somebody works in is looked at.
_START = """
import sys
sys.path[:] = [*filter(None, sys.path), sys.argv.pop(1)]
from cwl_userspace.launchserver import main
main()
"""
_LARGEST_PACKET = 64
_PACKETS = socket.SOCK_SEQPACKET


class Unavailable(Exception):
    """The server cannot start this: the command is to be executed."""


class Launcher:
    """A server that forks, from its start until ``close``; it ends with this process at the latest.

    Raise OSError if there cannot be one.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, _PACKETS)
        package = str(Path(__file__).resolve().parent.parent.parent)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-c", _START, package, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._control = ours
        self._owner = os.getpid()
        self.pid = self._server.pid

    def start(
        self,
        args: Sequence[str],
        streams: Sequence[int],
        env: Mapping[str, str],
        cwd: str,
    ) -> tuple[socket.socket, int]:
        """Have a command of ours started with these standard streams.

        Return the job's socket and process id; raise Unavailable if that did not happen.
        """
        if self._owner != os.getpid():
            raise Unavailable("this is another process")
        job, theirs = socket.socketpair(socket.AF_UNIX, _PACKETS)
        try:
            payload = _payload(args[1:], env, cwd)
            try:
                fds = array.array("i", [payload, theirs.fileno(), *streams])
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)]
                self._control.sendmsg([b"run"], rights, socket.MSG_NOSIGNAL)
            finally:
                os.close(payload)
                theirs.close()
            word, _, pid = job.recv(_LARGEST_PACKET).partition(b" ")
            if word != b"pid":
                raise Unavailable("the server has ended")
        except (OSError, AttributeError) as error:  # a kernel without memfd, for one
            job.close()
            raise Unavailable(str(error)) from None
        except Unavailable:
            job.close()
            raise
        return job, int(pid)

    def close(self) -> None:
        """End the server, and with it all that it runs."""
        if self._owner == os.getpid():
            self._control.close()
            self._server.wait()


class Job:
    """A command that the server has started, with what cwltool uses of ``subprocess.Popen``.

    Threads may wait for one job at once, and a signal handler in the midst of it.
    """

    def __init__(
        self, args: Sequence[str], job: socket.socket, pid: int, stdin: IO[Any] | None
    ) -> None:
        self.args, self.pid, self.stdin = args, pid, stdin
        self.stdout = self.stderr = None
        self.returncode: int | None = None
        # The most memory in bytes that the container had; 0 where nobody knows.
        self.memory = 0
        self._socket = job
        self._lock = threading.RLock()
        self._waiting = 0

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None while the job runs."""
        with self._lock:
            while self.returncode is None and self._hear():
                pass
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code, or raise subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            self._waiting += 1
        try:
            poll = select.poll()
            if self._socket.fileno() >= 0:
                poll.register(self._socket, select.POLLIN)
            while self.poll() is None:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    raise subprocess.TimeoutExpired(list(self.args), timeout or 0)
                poll.poll(None if left is None else left * 1000)
        finally:
            with self._lock:
                self._waiting -= 1
                self._close_if_over()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Have the server signal the job, unless it has ended: nobody else can have its number."""
        if self.poll() is None:
            try:
                self._socket.send(str(int(number)).encode(), socket.MSG_NOSIGNAL)
            except OSError:
                pass  # it has ended meanwhile

    def terminate(self) -> None:
        """Ask the job to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the job, and all that is in its container."""
        self.send_signal(signal.SIGKILL)

    def _hear(self) -> bool:
        """Take one packet; False if there is none yet."""
        try:
            data = self._socket.recv(_LARGEST_PACKET, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        word, _, value = data.partition(b" ")
        if word == b"used":
            self.memory = int(value)
        elif word == b"exit":
            self.returncode = int(value)
        elif not data:  # the server was killed, and so the job is
            self.returncode = -signal.SIGKILL
        self._close_if_over()
        return True

    def _close_if_over(self) -> None:
        """A number that somebody waits upon must not become another file's."""
        if self.returncode is not None and not self._waiting:
            self._socket.close()


def _payload(args: Sequence[str], env: Mapping[str, str], cwd: str) -> int:
    """A file in memory with a request: nobody but the server and the job can read it."""
    variables = [f"{name}={value}" for name, value in env.items()]
    words = [os.fsencode(word) for word in (cwd, str(len(args)), *args, *variables)]
    if any(b"\0" in word for word in words):
        raise ValueError("embedded null byte")  # as Popen says it
    fd = os.memfd_create("request")
    with open(fd, "wb", closefd=False) as file:
        file.write(b"\0".join(words))
    return fd

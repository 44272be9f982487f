"""A process that starts many containers: it has imported all that ``run`` needs, and forks.

``cwl.launcher`` starts it, with the number of a socket as the only argument.

A request is one packet on that socket with five descriptors: a file with the working directory,
the words and the variables of a command; a socket for what is said about the job; and the job's
standard streams. On the job's socket the server answers ``pid N``, the job itself says ``used``
with its memory, and the server ends with ``exit N``, N being negative for a signal. What comes
the other way are numbers of signals for the job. Whose socket closes is killed. When the first
socket closes the server ends, and all its jobs with it.
"""

from __future__ import annotations

import array
import gc
import os
import select
import signal
import socket
import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

# What a run of a cached image imports. A module that is missing here costs time, and nothing else.
USED_BY_A_RUN = (
    "cwl_userspace.accounts",
    "cwl_userspace.cli.context",
    "cwl_userspace.cli.run",
    "cwl_userspace.cli.running",
    "cwl_userspace.cli.unmet",
    "cwl_userspace.engines.choose",
    "cwl_userspace.engines.filters",
    "cwl_userspace.engines.promises",
    "cwl_userspace.engines.userns",
    "cwl_userspace.engines.view",
    "cwl_userspace.hostfacts",
    "cwl_userspace.log",
    "cwl_userspace.memory",
    "cwl_userspace.plan",
    "cwl_userspace.private",
    "cwl_userspace.process",
    "cwl_userspace.runs",
    "encodings.ascii",
    "resource",
)
DESCRIPTORS = 5
SEPARATOR = b"\0"
# They are meant for the jobs, which get them too: this process ends when its caller does.
_NOT_FOR_US = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)
_HELD = (*_NOT_FOR_US, signal.SIGCHLD)
_LARGEST_PACKET = 64


def main() -> None:
    """Serve the socket whose number is the argument until it closes."""
    for name in USED_BY_A_RUN:
        import_module(name)
    control = socket.socket(fileno=int(sys.argv[1]))
    caller = os.getppid()
    # The pages of all that is there now are never written for the sake of a collection.
    gc.disable()
    gc.freeze()
    _Server(control).serve(caller)


class _Server:
    """The jobs that are running, by the descriptor of their sockets and by their process ids."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._jobs: dict[int, tuple[socket.socket, int]] = {}
        self._sockets: dict[int, int] = {}
        self._poll = select.poll()
        self._before: dict[int, Any] = {}
        self._own = os.getpid()

    def serve(self, caller: int) -> None:
        """Take requests until the socket closes or the process ``caller`` has ended."""
        self._before = {number: signal.signal(number, signal.SIG_IGN) for number in _NOT_FOR_US}
        wakeup, written = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        self._poll.register(wakeup, select.POLLIN)
        self._poll.register(self._control, select.POLLIN)
        parent = _pidfd(caller)
        if parent >= 0:
            self._poll.register(parent, select.POLLIN)
        while os.getppid() == caller:
            for fd, _ in self._poll.poll():
                if fd == wakeup:
                    os.read(wakeup, 512)
                    self._reap()
                elif fd in self._jobs:
                    self._pass_on(fd)
                elif fd == self._control.fileno() and not self._accept():
                    return

    def _accept(self) -> bool:
        """Start the job of one request; False if there will be none any more."""
        try:
            data, descriptors = _receive(self._control)
        except OSError:
            return False
        if not data or len(descriptors) != DESCRIPTORS:
            return False
        job = socket.socket(fileno=descriptors[1])
        # A signal that comes to the job before it is ready for it must not be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
        try:
            pid = os.fork()
            if pid == 0:
                _be_job(descriptors, self._own, self._forget)
        except OSError:
            # The caller sees that nothing was started, and starts it himself.
            pid = 0
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
        for fd in (descriptors[0], *descriptors[2:]):
            os.close(fd)
        if pid and _say(job, f"pid {pid}"):
            self._jobs[job.fileno()] = (job, pid)
            self._sockets[pid] = job.fileno()
            self._poll.register(job, select.POLLIN)
        else:
            job.close()
        return True

    def _forget(self) -> None:
        """In a job: signals do what they did before this process was a server."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)

    def _pass_on(self, fd: int) -> None:
        """A signal for a job."""
        job, pid = self._jobs[fd]
        try:
            text = job.recv(_LARGEST_PACKET, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return  # what poll() found was about another job, which had this number before
        except OSError:
            text = b""
        if text:
            os.kill(pid, int(text))
        else:
            os.kill(pid, signal.SIGKILL)
            self._poll.unregister(fd)

    def _reap(self) -> None:
        """Say of all jobs that have ended how they did."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            fd = self._sockets.pop(pid, -1)
            if fd < 0:
                continue
            job, _ = self._jobs.pop(fd)
            try:
                self._poll.unregister(fd)
            except KeyError:
                pass  # its caller has gone already
            _say(job, f"exit {os.waitstatus_to_exitcode(status)}")
            job.close()


def _be_job(descriptors: Sequence[int], server: int, forget: Callable[[], None]) -> NoReturn:
    """The forked child: what the command would be that was asked for."""
    from cwl_userspace.cli import main as command_line
    from cwl_userspace.kernel.syscalls import set_pdeathsig
    from cwl_userspace.process import Usage

    code = 1
    try:
        payload, job, *streams = descriptors
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        _close_all_but(0, 1, 2, payload, job)
        set_pdeathsig(signal.SIGTERM)
        forget()
        gc.enable()
        if os.getppid() == server:
            words = _enter(payload)
            usage = Usage(sampled=True)
            code = command_line(words, usage)
            _flush()
            os.write(job, f"used {usage.memory}".encode())
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _enter(payload: int) -> list[str]:
    """Take on the directory and the variables that a request has; return its words."""
    with open(payload, "rb") as file:
        file.seek(0)
        cwd, count, *rest = file.read().split(SEPARATOR)
    os.chdir(cwd)
    os.environb.clear()
    for pair in rest[int(count) :]:
        name, _, value = pair.partition(b"=")
        os.environb[name] = value
    return [os.fsdecode(word) for word in rest[: int(count)]]


def _close_all_but(*kept: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                pass  # that by which the list was read


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            pass


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """A packet and its descriptors, which no program that is executed inherits."""
    size = array.array("i").itemsize
    data, ancillary, _, _ = control.recvmsg(_LARGEST_PACKET, socket.CMSG_SPACE(DESCRIPTORS * size))
    found = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(content[: len(content) - len(content) % size])
    for fd in found:
        os.set_inheritable(fd, False)
    return data, list(found)


def _say(job: socket.socket, text: str) -> bool:
    try:
        job.send(text.encode(), socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


def _pidfd(pid: int) -> int:
    """A descriptor that can be read once a process has ended; -1 before Linux 5.3."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return -1

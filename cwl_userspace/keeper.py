"""The process next to the tool: it starts the tool, passes signals on and outlives nobody.

In namespaces the keeper is process 1, so its end is the end of everything in them. Where there
are none (proot) it adopts every orphan as subreaper and kills what is left. In both cases it
reads a pipe whose other end only the supervisor holds: when that closes, by intention or
because the supervisor was killed, everything ends.

Nothing is imported in a function here: in a new root there is no Python to import from.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select

from cwl_userspace.kernel import signals
from cwl_userspace.lineage import send
from cwl_userspace.shimwatch import ShimWatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

    from cwl_userspace.guard import Guard

KILLED = 128 + signals.SIGKILL
_REPORT_LIMIT = 4096
# Until signals are tried again, in milliseconds: proot is without a child for a moment.
_SOON = 20
# The same number on x86_64 and aarch64; importing termios for it would cost more than the call.
_TIOCSCTTY = 0x540E


class EngineEnded(Exception):
    """The engine's own program ended before it told of the end of the container's."""

    def __init__(self, code: int) -> None:
        super().__init__(f"it ended by itself with status {code}")


class Program:
    """What to execute: the file is looked up on PATH unless its name has a slash."""

    __slots__ = ("argv", "environment", "terminal", "working_dir")

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        working_dir: str,
        terminal: bool = False,
    ) -> None:
        self.argv = tuple(argv)
        self.environment = dict(environment)
        self.working_dir = working_dir
        self.terminal = terminal


def start(
    program: Program,
    report: int,
    prepare: Callable[[], None],
    inherited: Sequence[int] = (),
    kept: Sequence[int] = (),
) -> int:
    """Fork and execute; return the process id.

    ``prepare`` is called in the child. A failure is written to ``report`` as exit code, space,
    message. ``inherited`` are descriptors that the program gets as 3 and so on, ``kept``
    those that it gets under their numbers, above all others.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        if program.terminal:
            _take_terminal()
        _enter(program.working_dir)
        prepare()
        signals.restore()
        report = _hand_down(inherited, kept, report)
        _execute(program)
    except OSError as error:
        code, reason = _reason(error, program)
        fail(report, code, reason)
    except BaseException as error:
        fail(report, 125, f"cannot start the program: {error}")
    os._exit(125)


def fail(report: int, code: int, message: str) -> NoReturn:
    """Say why nothing was started, and end this process."""
    os.write(report, f"{code} {message}".encode("utf-8", "surrogateescape")[:_REPORT_LIMIT])
    os._exit(code)


def keep(
    child: int,
    lifeline: int,
    wakeup: int,
    target: Callable[[], int],
    status: int = -1,
    guard: Guard | None = None,
    shim: bool = False,
) -> int:
    """Wait for the program, adopting and reaping all others; return its exit code.

    The program is the child, or it tells of its end by a byte on ``status``. Signals go to the
    process that ``target`` names, and wait while it gives 0. ``KILLED`` is returned as soon as
    the supervisor is gone. Raise EngineEnded where the byte did not come; with ``shim`` that is
    as soon as the target, which should have said it, has ended.
    """
    poll = select.poll()
    poll.register(lifeline, 0)
    poll.register(wakeup, select.POLLIN)
    if status >= 0:
        poll.register(status, select.POLLIN)
    listener = guard.listener if guard is not None else -1
    if listener >= 0:
        poll.register(listener, select.POLLIN)
    watch = ShimWatch(target, poll) if shim else None
    held: list[int] = []
    signals.unblock()
    while True:
        code = _reap(child)
        if code is not None:
            told = _told(status)
            if told is None and status >= 0:
                raise EngineEnded(code)
            return code if told is None else told
        held = _pass_on(held, target)
        events = poll.poll(_SOON if held else watch.timeout() if watch is not None else None)
        if watch is not None and watch.look([fd for fd, _ in events]):
            told = _told(status)
            if told is None:
                raise EngineEnded(KILLED)
            return told
        for fd, event in events:
            if fd == lifeline:
                return KILLED
            if fd == listener:
                if event & select.POLLIN and guard is not None:
                    guard.answer()
                else:
                    poll.unregister(listener)
            if fd == status:
                told = _told(status)
                if told is not None:
                    return told
                poll.unregister(status)
            elif fd == wakeup:
                held += [n for n in os.read(wakeup, 64) if n in signals.FORWARDED]


def is_alone(lifeline: int) -> bool:
    """True if the supervisor has ended: its signal may have ended the program before we saw it."""
    poll = select.poll()
    poll.register(lifeline, 0)
    return bool(poll.poll(0))


def exit_code(status: int) -> int:
    """A wait status as a shell gives it: n, or 128 and the signal."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _pass_on(numbers: list[int], target: Callable[[], int]) -> list[int]:
    """Send the signals; those that are still to be sent where there is nobody yet."""
    pid = target() if numbers else 0
    if not pid:
        return numbers
    for number in numbers:
        send(pid, number)
    return []


def _told(status: int) -> int | None:
    """The byte on the status pipe, which does not block; None if there is none."""
    try:
        byte = os.read(status, 1) if status >= 0 else b""
    except BlockingIOError:
        return None
    return byte[0] if byte else None


def _reap(child: int) -> int | None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return KILLED
        if pid == child:
            return exit_code(status)
        if pid == 0:
            return None


def _hand_down(inherited: Sequence[int], kept: Sequence[int], report: int) -> int:
    """Number the inherited descriptors from 3 on and close all others but those that are kept and
    ``report``; return that."""
    above = 3 + len(inherited)
    report = fcntl.fcntl(report, fcntl.F_DUPFD_CLOEXEC, above)
    for number, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, above) for fd in inherited], 3):
        os.dup2(fd, number)
    first = above
    for fd in sorted((*kept, report)):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, 1 << 16)
    return report


def _take_terminal() -> None:
    """Make standard input the controlling terminal (tty_ioctl(4))."""
    fcntl.ioctl(0, _TIOCSCTTY, 0)


def _enter(directory: str) -> None:
    try:
        os.chdir(directory)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot enter the working directory: {error.strerror}", directory
        ) from None


def _execute(program: Program) -> None:
    """execvp(3), done by hand: Python's own imports a module, and it may be out of reach here."""
    name = program.argv[0]
    if "/" in name:
        os.execve(name, program.argv, program.environment)
    denied = None
    for directory in program.environment.get("PATH", "").split(":"):
        path = f"{directory or '.'}/{name}"
        try:
            os.execve(path, program.argv, program.environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            denied = error
    if denied is not None:
        raise denied
    raise FileNotFoundError(errno.ENOENT, "not found on PATH", name)


def _reason(error: OSError, program: Program) -> tuple[int, str]:
    """Docker's exit codes: 127 for a program that is not there, 126 for one that cannot be run."""
    name = program.argv[0]
    if error.filename == program.working_dir:
        return 125, f"{error.strerror}: {program.working_dir!r}"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        where = "" if "/" in name else f" on PATH {program.environment.get('PATH', '')}"
        return 127, f"no program {name!r} in the image{where}"
    if error.errno == errno.E2BIG:
        return 126, f"the arguments of {name!r} are too long for the kernel"
    return 126, f"cannot execute {name!r}: {error.strerror}"

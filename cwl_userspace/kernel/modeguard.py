"""Keep a tree's modes, owners, times and attributes from its own owner, which Landlock does not.

A seccomp filter sends every call that could change them to a process outside of it, the
*keeper*, which looks at what the call is aimed at (Linux 5.6 with pidfd_getfd). Aimed into a
protected tree, it is answered EROFS; elsewhere the keeper makes it itself, on the very file
that it looked at, so that nothing can be put in its place meanwhile.

The child that will become proot calls `install` and tells its parent the descriptor; the parent,
the keeper, takes it with `adopt`, and only then lets the child go on; from there on it calls
`receive` whenever poll() finds the descriptor readable, and answers with `settle`. The keeper
must not be under the filter itself, or it would wait for its own answers. Should it end, the
calls fail with ENOSYS.

The kernel asks a filter after a tracer's stop at the call's entry, so the keeper sees paths as
proot has translated them. But the answer of this filter goes before that of a filter by which a
proot speeds itself up (5.2 and newer): such a proot never sees the calls. What their paths mean is
then to be found out by opening them in the container (see guard and engines.locator).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from cwl_userspace.kernel import seccomp, syscalls
from cwl_userspace.kernel.modecalls import SHAPES, Call, bytes_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # What a call is aimed at, as an O_PATH descriptor; OSError if it is aimed at nothing.
    Find = Callable[[Call], int]

_NEW_LISTENER = 1 << 3
_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102  # SECCOMP_IOCTL_NOTIF_*
_NOTIFICATION = "=QIIiIQ6Q"  # id, pid, flags; nr, arch, instruction_pointer, args
_RESPONSE = "=QqiI"  # id, val, error, flags
_SET_FLAGS = (0x40086602, 0x40046602, 0x401C5820)  # FS_IOC_SETFLAGS (64, 32 bits), FSSETXATTR

# What leads to a process's own files, and where that is in /proc/PID
_ALIASES = (
    (b"/proc/self/", b""),
    (b"/proc/thread-self/", b""),
    (b"/dev/fd/", b"fd/"),
    (b"/dev/stdin", b"fd/0"),
    (b"/dev/stdout", b"fd/1"),
    (b"/dev/stderr", b"fd/2"),
)
_NO_MAGIC_LINKS = 2  # RESOLVE_NO_MAGICLINKS
_CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE


class Notification:
    """One call that waits for its answer."""

    __slots__ = ("call", "listener", "name")

    def __init__(self, listener: int, name: int, call: Call) -> None:
        self.listener = listener
        self.name = name
        self.call = call

    def check(self) -> None:
        """Raise OSError if who called is gone: his number may have been another's by now."""
        fcntl.ioctl(self.listener, _IS_VALID, struct.pack("=Q", self.name))

    def answer(self, error: int, go_on: bool = False) -> None:
        """Let the call succeed (0) or fail with an errno; or have the kernel do it after all."""
        flags = _CONTINUE if go_on else 0
        try:
            fcntl.ioctl(self.listener, _SEND, struct.pack(_RESPONSE, self.name, 0, -error, flags))
        except OSError as failure:
            if failure.errno != errno.ENOENT:
                raise


def install() -> int:
    """Put the filter on this thread and what it starts; the descriptor that hears of the calls.

    The descriptor is closed by execve. Needs no_new_privs, or root. OSError with EBUSY where
    another filter of this kind is in place already, EINVAL where the kernel is too old.
    """
    rules = [seccomp.Rule(call, seccomp.USER_NOTIF) for call in (*SHAPES, "clone3")]
    rules.append(seccomp.Rule("ioctl", seccomp.refuse(errno.EPERM), 1, "in", _SET_FLAGS))
    rules += [
        seccomp.Rule(call, seccomp.refuse(errno.ENOSYS))
        for call in ("fchmodat2", "setxattrat", "removexattrat", "file_setattr", "io_uring_setup")
    ]
    return seccomp.install(seccomp.program(os.uname().machine, rules), _NEW_LISTENER)


def adopt(pid: int, descriptor: int) -> int:
    """Take a copy of *descriptor* of the process *pid*, as `install` gave it there."""
    process = syscalls.pidfd_open(pid)
    try:
        return syscalls.pidfd_getfd(process, descriptor)
    finally:
        os.close(process)


def receive(listener: int) -> Notification | None:
    """The next call that waits; None if who made it is gone. One of no known name fails."""
    notification = bytearray(struct.calcsize(_NOTIFICATION))
    try:
        fcntl.ioctl(listener, _RECEIVE, notification)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    name, pid, _, number, audit, _, *arguments = struct.unpack(_NOTIFICATION, notification)
    convention = seccomp.convention(audit)
    word = 8 if convention in ("x86_64", "aarch64") else 4
    if number == syscalls.numbers(convention).get("clone3"):
        _judge_clone(Notification(listener, name, Call("clone3", pid, arguments, word)))
        return None
    for known, its_number in syscalls.numbers(convention).items():
        if its_number == number and known in SHAPES:
            return Notification(listener, name, Call(known, pid, arguments, word))
    Notification(listener, name, Call("chmod", pid, arguments, word)).answer(errno.ENOSYS)
    return None


def _judge_clone(waiting: Notification) -> None:
    """Let clone3(2) make processes, but no threads: who wants one then uses clone(2).

    proot before 5.2 loses a program's heap once a child that borrows its memory executes another
    program, but does not know of the borrowing if the call was clone3, as posix_spawn and system
    have it. Of a thread it must know.
    """
    try:
        (flags,) = struct.unpack("=Q", bytes_in(waiting.call.pid, waiting.call.arguments[0], 8))
    except OSError as error:
        waiting.answer(error.errno or errno.EFAULT)
        return
    if flags & syscalls.CLONE_UNTRACED:
        waiting.answer(errno.EPERM)
    elif flags & syscalls.CLONE_THREAD:
        waiting.answer(errno.ENOSYS)
    else:
        waiting.answer(0, go_on=True)


def settle(
    waiting: Notification, protected: tuple[str, ...], find: Find, forgive: bool = False
) -> None:
    """Make a call or refuse it; *protected* are real paths of trees that must not change.

    With *forgive* what this user may not do is said to be done, as emulated root has it.
    """
    try:
        target = find(waiting.call)
        try:
            waiting.check()
            place = f"/proc/self/fd/{target}"
            real = os.readlink(place)
            if any(real == tree or real.startswith(tree + "/") for tree in protected):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            waiting.call.make(place)
        finally:
            os.close(target)
    except OSError as error:
        number = error.errno or errno.EPERM
        waiting.answer(0 if forgive and number == errno.EPERM else number)
    except OverflowError:
        waiting.answer(errno.EINVAL)
    else:
        waiting.answer(0)


def find_translated(call: Call) -> int:
    """What a call is aimed at whose path means on the host what it says."""
    path = call.path()
    if not path:
        return held(call.pid, call.directory)
    how = os.O_PATH | os.O_CLOEXEC | (0 if call.follows else os.O_NOFOLLOW)
    if path.startswith(b"/"):
        if not os.path.samefile(f"/proc/{call.pid}/root", "/"):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return _open(call.pid, syscalls.AT_FDCWD, path, how)
    base = held(call.pid, call.directory)
    try:
        return _open(call.pid, base, path, how)
    finally:
        os.close(base)


def can_find() -> bool:
    """True if this kernel has what paths are opened with here (Linux 5.6)."""
    try:
        os.close(_open(os.getpid(), syscalls.AT_FDCWD, b"/", os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def own_path(path: bytes, pid: int) -> bytes:
    """A path that leads to one's own files, as another process has to write it."""
    for alias, place in _ALIASES:
        if path.startswith(alias):
            return b"/proc/%d/" % pid + place + path[len(alias) :]
    return path


def held(pid: int, descriptor: int) -> int:
    """What *pid* has open as *descriptor*, or its current directory for AT_FDCWD."""
    what = "cwd" if descriptor == syscalls.AT_FDCWD else f"fd/{descriptor}"
    try:
        return os.open(f"/proc/{pid}/{what}", os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None


def _open(pid: int, base: int, path: bytes, how: int) -> int:
    """Open *path* as *pid* would, for whom /proc/self is not the keeper."""
    number = syscalls.number_of("openat2")
    wanted = struct.pack("=QQQ", how, 0, _NO_MAGIC_LINKS)
    try:
        return syscalls.syscall(number, base, path, wanted, len(wanted))
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    path = own_path(path, pid)
    if not path.startswith(b"/proc/") or not path.split(b"/")[2].isdigit():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return os.open(path, how)

"""Keep a tree's modes, owners, times and attributes from its own owner, which Landlock does not.

A seccomp filter sends every call that could change them to a process outside of it, the
*keeper*, which looks at what the call is aimed at (Linux 5.6 with pidfd_getfd). Aimed into a
protected tree, it is answered EROFS. A change of mode elsewhere is made by the keeper itself on
the file that it looked at, and any other call is let go on.

The child that will become proot calls `install` and tells its parent the descriptor; the parent,
the keeper, takes it with `adopt`, and only then lets the child go on; from there on it calls
`answer` whenever poll() finds the descriptor readable. The keeper must not be under the filter
itself, or it would wait for its own answers. Should it end, the calls fail with ENOSYS.

The keeper sees paths as proot has translated them, since a filter is asked after a tracer; but
not those of a proot that speeds itself up by a filter of its own (5.2 and newer), where this
filter would take the place of that one. Such a proot needs PROOT_NO_SECCOMP=1.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from cwl_userspace.kernel import seccomp, syscalls

_NEW_LISTENER = 1 << 3
_CONTINUE = 1
_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102  # SECCOMP_IOCTL_NOTIF_*
_NOTIFICATION = "=QIIiIQ6Q"  # id, pid, flags; nr, arch, instruction_pointer, args
_RESPONSE = "=QqiI"  # id, val, error, flags
_LONGEST_PATH = 4096
_SET_FLAGS = (0x40086602, 0x40046602, 0x401C5820)  # FS_IOC_SETFLAGS (64, 32 bits), FSSETXATTR

# Which arguments of a call are its directory, its path and its flags (-1: it has none), and
# whether it follows a link at the end of its path when its flags say nothing about that. A call
# without a path works on its descriptor, and so does one whose path is null.
_SHAPES = {
    "chmod": (-1, 0, -1, True),
    "fchmod": (0, -1, -1, True),
    "fchmodat": (0, 1, -1, True),
    "chown": (-1, 0, -1, True),
    "chown32": (-1, 0, -1, True),
    "lchown": (-1, 0, -1, False),
    "lchown32": (-1, 0, -1, False),
    "fchown": (0, -1, -1, True),
    "fchown32": (0, -1, -1, True),
    "fchownat": (0, 1, 4, True),
    "utime": (-1, 0, -1, True),
    "utimes": (-1, 0, -1, True),
    "futimesat": (0, 1, -1, True),
    "utimensat": (0, 1, 3, True),
    "utimensat_time64": (0, 1, 3, True),
    "setxattr": (-1, 0, -1, True),
    "lsetxattr": (-1, 0, -1, False),
    "fsetxattr": (0, -1, -1, True),
    "removexattr": (-1, 0, -1, True),
    "lremovexattr": (-1, 0, -1, False),
    "fremovexattr": (0, -1, -1, True),
}
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
_MODE_ARGUMENT = {"chmod": 1, "fchmod": 1, "fchmodat": 2}


def install() -> int:
    """Put the filter on this thread and what it starts; the descriptor that hears of the calls.

    The descriptor is closed by execve. Needs no_new_privs, or root. OSError with EBUSY where
    another filter of this kind is in place already, EINVAL where the kernel is too old.
    """
    rules = [seccomp.Rule(call, seccomp.USER_NOTIF) for call in _SHAPES]
    rules.append(seccomp.Rule("ioctl", seccomp.refuse(errno.EPERM), 1, "in", _SET_FLAGS))
    rules += [
        seccomp.Rule(call, seccomp.refuse(errno.ENOSYS))
        for call in ("fchmodat2", "setxattrat", "removexattrat", "file_setattr", "io_uring_setup")
    ]
    return seccomp.install(seccomp.program(os.uname().machine, rules), _NEW_LISTENER)


def adopt(pid: int, descriptor: int) -> int:
    """Take a copy of *descriptor* of the child *pid*, as `install` gave it there."""
    numbers = syscalls.numbers(os.uname().machine)
    process = syscalls.syscall(numbers["pidfd_open"], pid, 0)
    try:
        return syscalls.syscall(numbers["pidfd_getfd"], process, descriptor, 0)
    finally:
        os.close(process)


def answer(listener: int, protected: tuple[str, ...]) -> None:
    """Answer one call that waits; *protected* are real paths of trees that must not change."""
    notification = bytearray(struct.calcsize(_NOTIFICATION))
    try:
        fcntl.ioctl(listener, _RECEIVE, notification)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):  # who called is gone
            return
        raise
    name, pid, _, number, audit, _, *arguments = struct.unpack(_NOTIFICATION, notification)
    try:
        go_on = _judge(listener, name, pid, _call(audit, number), arguments, protected)
        response = struct.pack(_RESPONSE, name, 0, 0, _CONTINUE if go_on else 0)
    except OSError as error:
        response = struct.pack(_RESPONSE, name, 0, -(error.errno or errno.EPERM), 0)
    try:
        fcntl.ioctl(listener, _SEND, response)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def _call(audit: int, number: int) -> str:
    """The name of a call that the filter has sent."""
    convention = seccomp.convention(audit)
    for name, known in syscalls.numbers(convention).items():
        if known == number and name in _SHAPES:
            return name
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def _judge(
    listener: int, name: int, pid: int, call: str, arguments: list[int], protected: tuple[str, ...]
) -> bool:
    """Whether the call may go on; False when it has been made here; OSError to refuse it."""
    target = _target(listener, name, pid, call, arguments)
    try:
        place = f"/proc/self/fd/{target}"
        real = os.readlink(place)
        if any(real == tree or real.startswith(tree + "/") for tree in protected):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if call not in _MODE_ARGUMENT:
            return True
        os.chmod(place, arguments[_MODE_ARGUMENT[call]] & 0o7777)
        return False
    finally:
        os.close(target)


def _target(listener: int, name: int, pid: int, call: str, arguments: list[int]) -> int:
    """An O_PATH descriptor of what the call is aimed at."""
    directory_at, path_at, flags_at, follows = _SHAPES[call]
    directory = _signed(arguments[directory_at]) if directory_at >= 0 else syscalls.AT_FDCWD
    pointer = arguments[path_at] if path_at >= 0 else 0
    flags = arguments[flags_at] if flags_at >= 0 else 0
    path = _path_in(pid, pointer) if pointer else b""
    # if the caller is gone, its number may have been another's by the time it was read
    fcntl.ioctl(listener, _IS_VALID, struct.pack("=Q", name))
    if not path and pointer and not flags & syscalls.AT_EMPTY_PATH:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    if not path:
        return _held(pid, directory)
    how = os.O_PATH | os.O_CLOEXEC
    if not follows or flags & syscalls.AT_SYMLINK_NOFOLLOW:
        how |= os.O_NOFOLLOW
    if path.startswith(b"/"):
        if not os.path.samefile(f"/proc/{pid}/root", "/"):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return _open(pid, syscalls.AT_FDCWD, path, how)
    base = _held(pid, directory)
    try:
        return _open(pid, base, path, how)
    finally:
        os.close(base)


def _open(pid: int, base: int, path: bytes, how: int) -> int:
    """Open *path* as *pid* would, for whom /proc/self is not the keeper."""
    number = syscalls.numbers(os.uname().machine)["openat2"]
    wanted = struct.pack("=QQQ", how, 0, _NO_MAGIC_LINKS)
    try:
        return syscalls.syscall(number, base, path, wanted, len(wanted))
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    for alias, place in _ALIASES:
        if path.startswith(alias):
            path = b"/proc/%d/" % pid + place + path[len(alias) :]
    if not path.startswith(b"/proc/") or not path.split(b"/")[2].isdigit():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return os.open(path, how)


def _held(pid: int, descriptor: int) -> int:
    """What *pid* has open as *descriptor*, or its current directory for AT_FDCWD."""
    what = "cwd" if descriptor == syscalls.AT_FDCWD else f"fd/{descriptor}"
    try:
        return os.open(f"/proc/{pid}/{what}", os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None


def _path_in(pid: int, pointer: int) -> bytes:
    """The string at *pointer* in the memory of *pid*."""
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = b""
        while b"\0" not in text:
            at = pointer + len(text)
            try:  # not past the end of a page: the next one may not be there
                piece = os.pread(memory, 4096 - at % 4096, at)
            except OSError:
                raise OSError(errno.EFAULT, os.strerror(errno.EFAULT)) from None
            text += piece
            if not piece or len(text) > 2 * _LONGEST_PATH:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    finally:
        os.close(memory)
    return text[: text.index(b"\0")]


def _signed(word: int) -> int:
    """An argument as the int that the kernel takes it for."""
    return (word & 0xFFFFFFFF) - ((word & 0x80000000) << 1)

"""System calls that Python has no word for, through libc; the only importer of ctypes.

Every function raises OSError with the errno of the call that failed. The numbers are in
kernel.numbers.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct

from cwl_userspace.kernel.numbers import numbers as numbers

CLONE_THREAD = 0x00010000
CLONE_UNTRACED = 0x00800000
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_SLAVE = 0x80000

MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_MODE_FILTER = 2
_SPECULATION_ALLOWED = 4  # SECCOMP_FILTER_FLAG_SPEC_ALLOW, Linux 4.17
_AF_INET = 2
_SOCK_DGRAM_CLOEXEC = 2 | 0o2000000
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_IFREQ = "16sH22x"  # struct ifreq: a name, then a union of 24 bytes that starts with the flags

_loaded: list[ctypes.CDLL] = []


def known_machine() -> bool:
    """True if this machine is one whose system call numbers are known here."""
    return os.uname().machine in ("x86_64", "aarch64")


@functools.cache
def number_of(name: str) -> int:
    """The number that a system call has on this machine; KeyError where it is not known."""
    return numbers(os.uname().machine)[name]


def libc() -> ctypes.CDLL:
    """The C library that this process is linked with, keeping errno for each thread."""
    if not _loaded:
        _loaded.append(ctypes.CDLL(None, use_errno=True))
        _loaded[0].syscall.restype = ctypes.c_long
    return _loaded[0]


def _checked(result: int, about: str | None = None) -> int:
    """Return *result*, or raise what errno says when it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), about)
    return result


def syscall(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make system call *number*; integers are passed as longs, bytes and buffers by address."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(libc().syscall(ctypes.c_long(number), *words))


def buffer(content: bytes) -> ctypes.Array[ctypes.c_char]:
    """Memory that starts with *content* and that the kernel may write to."""
    return ctypes.create_string_buffer(content, len(content))


def address(memory: ctypes.Array[ctypes.c_char]) -> int:
    """Where *memory* is, to be packed into a structure; keep *memory* alive meanwhile."""
    return ctypes.addressof(memory)


def unshare(flags: int) -> None:
    """Leave the namespaces that *flags* (CLONE_NEW*) names for new ones."""
    _checked(libc().unshare(ctypes.c_int(flags)))


def setns(fd: int, kind: int) -> None:
    """Enter the name space that a file of /proc/PID/ns stands for (setns(2))."""
    _checked(libc().setns(ctypes.c_int(fd), ctypes.c_int(kind)))


def mount(
    source: str | None, target: str, fstype: str | None = None, flags: int = 0, data: str = ""
) -> None:
    """mount(2): a new file system, a bind, a move or a remount, as *flags* (MS_*) says."""
    result = libc().mount(
        None if source is None else os.fsencode(source),
        os.fsencode(target),
        None if fstype is None else os.fsencode(fstype),
        ctypes.c_ulong(flags),
        os.fsencode(data) if data else None,
    )
    _checked(result, target)


def umount(target: str, flags: int = 0) -> None:
    """umount2(2), *flags* being MNT_DETACH or nothing."""
    _checked(libc().umount2(os.fsencode(target), ctypes.c_int(flags)), target)


def mount_setattr(directory: int, path: str, flags: int, attr_set: int, attr_clr: int) -> None:
    """Change MOUNT_ATTR_* of the mount at *path*, below it too with AT_RECURSIVE (Linux 5.12)."""
    attributes = struct.pack("=QQQQ", attr_set, attr_clr, 0, 0)
    number = number_of("mount_setattr")
    try:
        syscall(number, directory, os.fsencode(path), flags, attributes, len(attributes))
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def pivot_root(new: str, put_old: str) -> None:
    """Make *new* the root and move the old one to *put_old* ("." and "." stack them)."""
    number = number_of("pivot_root")
    try:
        syscall(number, os.fsencode(new), os.fsencode(put_old))
    except OSError as error:
        raise OSError(error.errno, error.strerror, new) from None


def sethostname(name: bytes) -> None:
    """Name this host, that is, this UTS namespace."""
    _checked(libc().sethostname(name, ctypes.c_size_t(len(name))))


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2): *option* is PR_*."""
    words = [ctypes.c_ulong(word) for word in (arg2, arg3, arg4, arg5)]
    return _checked(libc().prctl(ctypes.c_int(option), *words))


def pidfd_open(pid: int) -> int:
    """A descriptor of a process, readable once it has ended (Linux 5.3)."""
    return syscall(number_of("pidfd_open"), pid, 0)


def pidfd_getfd(process: int, descriptor: int) -> int:
    """A copy of what the process of a pidfd has open as *descriptor* (Linux 5.6)."""
    return syscall(number_of("pidfd_getfd"), process, descriptor, 0)


def set_no_new_privs() -> None:
    """No execve of this process or its descendants gives privileges any more, for good."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def install_filter(code: bytes, flags: int = 0) -> int:
    """Put a seccomp filter on this thread and all it will start; it cannot be taken off.

    *code* is an array of struct sock_filter; the caller has called `set_no_new_privs`, or is
    root. With *flags* the result may be a descriptor (see modeguard), otherwise it is 0.
    """
    memory = buffer(code)
    fprog = buffer(struct.pack("@HP", len(code) // 8, address(memory)))
    number = number_of("seccomp")
    # Without that flag kernels before 5.16 make every branch of the program slower.
    for further in (_SPECULATION_ALLOWED, 0):
        try:
            return syscall(number, _SECCOMP_SET_MODE_FILTER, flags | further, fprog)
        except OSError as error:
            unknown = error.errno == errno.EINVAL and further
            if not unknown and (error.errno != errno.ENOSYS or flags):
                raise
    return prctl(PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, address(fprog))  # Linux before 3.17


def set_pdeathsig(signal: int) -> None:
    """Have *signal* sent to this process when the thread that forked it ends."""
    prctl(PR_SET_PDEATHSIG, signal)


def set_child_subreaper() -> None:
    """Become the parent of every orphaned descendant, in place of init."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def loopback_up() -> None:
    """Bring up ``lo``, which is down in a new network namespace."""
    control = _checked(libc().socket(_AF_INET, _SOCK_DGRAM_CLOEXEC, 0))
    try:
        request = buffer(struct.pack(_IFREQ, b"lo", 0))
        _checked(libc().ioctl(control, ctypes.c_ulong(_SIOCGIFFLAGS), request), "lo")
        flags = struct.unpack(_IFREQ, request.raw)[1]
        request.raw = struct.pack(_IFREQ, b"lo", flags | _IFF_UP)
        _checked(libc().ioctl(control, ctypes.c_ulong(_SIOCSIFFLAGS), request), "lo")
    finally:
        os.close(control)


def sync_filesystem(path: str) -> None:
    """Have the file system that holds *path* write everything out (syncfs(2))."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_filesystem_of(fd, path)
    finally:
        os.close(fd)


def sync_filesystem_of(fd: int, path: str) -> None:
    """The same for what is open as *fd*; errors name *path*."""
    _checked(libc().syncfs(ctypes.c_int(fd)), path)

"""The way into a container that runs already: its name spaces, and its root."""

from __future__ import annotations

import errno
import fcntl
import os

from cwl_userspace.kernel import syscalls as sys_
from cwl_userspace.lineage import start_of

# ioctl_ns(2): the user name space that a name space belongs to (Linux 4.9).
_NS_GET_USERNS = 0xB701
_KINDS = (
    ("pid", sys_.CLONE_NEWPID),
    ("ipc", sys_.CLONE_NEWIPC),
    ("uts", sys_.CLONE_NEWUTS),
    ("net", sys_.CLONE_NEWNET),
)
_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def join(pid: int, start: str) -> None:
    """Enter the name spaces of a process, but for that of mounts; children have its process ids.

    ``start`` is when it started: another may have its number by now. It may be in a user name
    space below the one that its other name spaces belong to: that waits for ``join_root``.
    """
    mounts = _open(pid, start, "mnt")
    others = [(_open(pid, start, name), name, kind) for name, kind in _KINDS]
    owner = fcntl.ioctl(mounts, _NS_GET_USERNS)
    if not _is_mine(owner, "user"):
        sys_.setns(owner, sys_.CLONE_NEWUSER)
    for fd, name, kind in others:
        if not _is_mine(fd, name):
            sys_.setns(fd, kind)
    for fd in (mounts, owner, *(fd for fd, _, _ in others)):
        os.close(fd)


def join_root(pid: int, start: str) -> None:
    """Enter the mounts and the root of a process, and at last its user name space."""
    mounts, user = _open(pid, start, "mnt"), _open(pid, start, "user")
    root = os.open(f"/proc/{pid}/root", _PLACE)
    _check(pid, start)
    mine = _is_mine(user, "user")
    sys_.setns(mounts, sys_.CLONE_NEWNS)
    os.fchdir(root)
    os.chroot(".")
    if not mine:
        sys_.setns(user, sys_.CLONE_NEWUSER)
    for fd in (mounts, user, root):
        os.close(fd)


def _open(pid: int, start: str, name: str) -> int:
    fd = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    _check(pid, start)
    return fd


def _check(pid: int, start: str) -> None:
    if start_of(pid) != start:
        raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))


def _is_mine(fd: int, name: str) -> bool:
    return os.fstat(fd).st_ino == os.stat(f"/proc/self/ns/{name}").st_ino

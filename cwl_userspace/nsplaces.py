"""What a container finds in its root: devices, processes, and the places that were asked for.

Every path is resolved by the kernel inside the new root, so that no link in an image leads out;
sources are reached through the old root, whose name nobody outside this process knows.
"""

from __future__ import annotations

import os

from cwl_userspace import inroot
from cwl_userspace.kernel import syscalls as sys_

# What every program expects of /dev, by the names there; each is the host's device.
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# What makes terminals, where a container has none of its own.
TERMINALS = ("ptmx", "pts")
DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)
_OWN_TERMINALS = ("ptmx", "pts/ptmx")
# What of /proc the host's root can change for the whole host, whatever its capabilities; as in
# runc.
HOST_WIDE = ("bus", "fs", "irq", "sys", "sysrq-trigger")
_ROOT_ONLY = ("sysrq-trigger", "sys/kernel/core_pattern")
_QUIET = sys_.MS_NOSUID | sys_.MS_NODEV
_ATTEMPTS = 20
# Of an empty file that was only made to be mounted upon. To Linux this bit means nothing there.
_PLACEHOLDER = 0o1644


def bind(source: str, target: str, read_only: bool) -> None:
    """Show a place of the host at ``target``; what is missing on the way there is made."""
    if os.path.isdir(source):
        inroot.make_directory(target)
    else:
        inroot.make_file(target)
    sys_.mount(source, target, None, sys_.MS_BIND | sys_.MS_REC)
    inroot.restrict(target, read_only)


def devices(old: str, shm_size: int, console: str) -> None:
    """A minimal /dev: the devices that every program expects, no disk, terminals of its own."""
    inroot.make_real_directory("/dev")
    flags = sys_.MS_NOSUID | sys_.MS_NOEXEC
    # Each device is a mount of its own, so nothing that is made there is one.
    sys_.mount("tmpfs", "/dev", "tmpfs", flags | sys_.MS_NODEV, "mode=0755,size=1m")
    for name in DEVICES:
        inroot.touch(f"/dev/{name}")
        sys_.mount(f"/{old}/dev/{name}", f"/dev/{name}", None, sys_.MS_BIND)
    for name, target in (*DEVICE_LINKS, _OWN_TERMINALS):
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/shm")
    sys_.mount("shm", "/dev/shm", "tmpfs", _QUIET, f"mode=1777,size={shm_size}")
    os.mkdir("/dev/pts")
    sys_.mount("devpts", "/dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=620")
    if console:
        inroot.touch("/dev/console")
        sys_.mount(f"/{old}{console}", "/dev/console", None, sys_.MS_BIND)


def device(source: str, target: str) -> None:
    """Show a device of the host; the host's modes say what may be done with it.

    One that /dev has already is covered by the host's.
    """
    inroot.make_file(target)
    sys_.mount(source, target, None, sys_.MS_BIND)
    inroot.set_attributes(target, sys_.MOUNT_ATTR_NOSUID, recursive=False)


def process_files(old: str, fresh: bool) -> None:
    """Put /proc where the old root was: from here on there is no way back to the host.

    It is that of this process name space, or the host's where the kernel allows no fresh one. It
    does not where a part of the host's /proc is hidden, as in other containers
    (mount_too_revealing in fs/namespace.c).
    """
    flags = sys_.MS_NOSUID | sys_.MS_NODEV | sys_.MS_NOEXEC
    aside = "/proc/.new"
    os.mkdir(aside)
    if fresh:
        sys_.mount("proc", aside, "proc", flags)
    else:
        sys_.mount(f"/{old}/proc", aside, None, sys_.MS_BIND | sys_.MS_REC)
    sys_.umount(f"/{old}", sys_.MNT_DETACH)
    sys_.mount(aside, "/proc", None, sys_.MS_MOVE)
    # Only the host's real root may. For others a covered part would be in the way of containers
    # in this container, whose kernel check wants to see all of /proc.
    if any(os.access(f"/proc/{name}", os.W_OK) for name in _ROOT_ONLY):
        for place in (f"/proc/{name}" for name in HOST_WIDE):
            if os.path.exists(place):
                sys_.mount(place, place, None, sys_.MS_BIND | sys_.MS_REC)
                inroot.restrict(place, read_only=True)


def private_directory(path: str) -> None:
    """An empty directory in memory that everybody can write."""
    inroot.make_directory(path)
    sys_.mount("tmpfs", path, "tmpfs", _QUIET, "mode=1777")


def directory(path: str, mode: int) -> None:
    """Make a directory if there is none."""
    try:
        os.stat(path)
    except FileNotFoundError:
        inroot.make_directory(path)
        os.chmod(path, mode)


def shared_directory(path: str) -> None:
    """A directory of the private root that everybody can write, whatever the image has there."""
    inroot.make_directory(path)
    if os.stat(path).st_mode & 0o1777 != 0o1777:
        os.chmod(path, 0o1777)


def private_file(path: str, text: str) -> None:
    """A file of our own in the private root, in place of whatever the image has there."""
    parent = os.path.dirname(path)
    inroot.make_directory(parent)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        data = text.encode("utf-8", "surrogateescape")
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)
    os.chmod(path, 0o644)


def bound_file(path: str, text: str) -> None:
    """A file of our own over whatever the tree has there, which stays as it is below.

    Where the tree has nothing a placeholder is made, which ``remove_placeholder`` knows again.
    """
    aside = f"/dev/.file-{os.path.basename(path)}"
    private_file(aside, text)
    for attempt in range(_ATTEMPTS):
        try:
            if not os.path.exists(path):
                inroot.make_file(path)
                os.chmod(path, _PLACEHOLDER)
            sys_.mount(aside, path, None, sys_.MS_BIND)
            break
        except (FileNotFoundError, FileExistsError):
            # Another run in the same tree has just made or removed its placeholder.
            if attempt == _ATTEMPTS - 1:
                raise
    os.unlink(aside)


def remove_placeholder(path: str) -> None:
    """At the end: take ``bound_file``'s file away, and what was made to hold it.

    The program may have made links meanwhile; they are followed inside its own tree.
    """
    sys_.umount(path, sys_.MNT_DETACH)
    left = os.stat(path)
    if left.st_size == 0 and left.st_mode & 0o7777 == _PLACEHOLDER:
        os.unlink(os.path.realpath(path))

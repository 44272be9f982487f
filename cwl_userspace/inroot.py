"""Make directories, files and mount attributes inside a container's own root.

Links are followed by the kernel, which stays below that root; a missing part is made.
"""

from __future__ import annotations

import errno
import os

from cwl_userspace.kernel import syscalls as sys_

_LINK_LIMIT = 40


def restrict(target: str, read_only: bool) -> None:
    """Have a mount, and all below it, give no rights; and no writes if so asked."""
    attributes = sys_.MOUNT_ATTR_NOSUID | sys_.MOUNT_ATTR_NODEV
    if read_only:
        attributes |= sys_.MOUNT_ATTR_RDONLY
    set_attributes(target, attributes, recursive=True)


def set_attributes(target: str, attributes: int, recursive: bool) -> None:
    """Add attributes to a mount; before Linux 5.12 by a remount that keeps those it has."""
    try:
        flags = sys_.AT_RECURSIVE if recursive else 0
        sys_.mount_setattr(sys_.AT_FDCWD, target, flags, attributes, 0)
        return
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
    for place in mounts_below(target) if recursive else (target,):
        # ST_* of statvfs(3) and MS_* of mount(2) have the same values for these four flags.
        kept = os.statvfs(place).f_flag & (0xF | sys_.MS_NOATIME | sys_.MS_NODIRATIME)
        flags = kept | attributes | sys_.MS_REMOUNT | sys_.MS_BIND
        sys_.mount(None, place, None, flags)


def mounts_below(target: str) -> list[str]:
    """The mount at a place and those below it, as this process sees them (proc(5), mountinfo)."""
    real = os.path.realpath(target)
    found = [real]
    with open(_mountinfo(), encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            path = line.split(" ")[4]
            for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n")):
                path = path.replace(code, character)
            path = path.replace("\\134", "\\")
            if path.startswith(real.rstrip("/") + "/"):
                found.append(path)
    return found


def _mountinfo() -> str:
    """/proc may not be mounted in the new root yet; then the old root still has it."""
    old_roots = (f"/proc/{name}" for name in os.listdir("/proc"))
    for root in ("", *old_roots):
        table = f"{root}/proc/self/mountinfo"
        if os.path.exists(table):
            return table
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), "/proc/self/mountinfo")


def make_directory(path: str, links: int = _LINK_LIMIT) -> None:
    """Make a directory and its parents; a link on the way is followed, even one to nowhere."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent != path:
        make_directory(parent, links)
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        make_directory(os.path.join(parent, _read_link(path)), _one_less(links, path))


def make_file(path: str, links: int = _LINK_LIMIT) -> None:
    """Make an empty file to mount upon if there is nothing yet."""
    if os.path.exists(path):
        return
    parent = os.path.dirname(path)
    make_directory(parent, links)
    try:
        touch(path)
    except FileExistsError:
        make_file(os.path.join(parent, _read_link(path)), _one_less(links, path))


def _one_less(links: int, path: str) -> int:
    if links == 0:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return links - 1


def _read_link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None


def touch(path: str) -> None:
    """A new empty file; no link is followed to it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(path, flags, 0o644))


def make_real_directory(path: str) -> None:
    """A directory directly below the root that is no link: an image's link there is replaced."""
    if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
        os.unlink(path)
    if not os.path.isdir(path):
        os.mkdir(path, 0o755)

"""Copy a tree: names, modes, times, links; blocks are shared where the file system can."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

# ioctl_ficlone(2); the number is the same on x86_64 and aarch64.
_FICLONE = 0x40049409
_CHUNK = 16 << 20
_NO_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS)


# What a file system or its rules can have against one more name for a file.
_NO_LINK = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS)


def copy_tree(source: str, target: str, link: bool = False) -> list[str]:
    """Copy a directory to a place where there is none; hard links stay hard links.

    With ``link`` files of the caller's own are not copied but get another name: from then on
    nobody may write to either, nor change its mode or times. What the caller may not read cannot
    be copied and stays empty: its paths are returned. Pipes are made anew; sockets and devices,
    which mean nothing without their host, are left out. Raise OSError otherwise.
    """
    copy = Copy(link)
    waiting = [(source, target)]
    made = []
    while waiting:
        source, target = waiting.pop()
        found = os.lstat(source)
        os.mkdir(target, 0o700)
        made.append((target, found))
        for entry in copy.children(source):
            place = os.path.join(target, entry.name)
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, place))
            else:
                copy.file(entry.path, place, entry.stat(follow_symlinks=False))
    for target, found in reversed(made):
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.chmod(target, stat.S_IMODE(found.st_mode))
    return copy.unread


def copy_place(source: str, target: str) -> list[str]:
    """Copy a directory, or whatever else there is, as ``copy_tree`` does."""
    if os.path.isdir(source):
        return copy_tree(source, target)
    copy = Copy()
    copy.file(source, target, os.lstat(source))
    return copy.unread


class Copy:
    """What one copy has seen: files with several names, and what could not be read."""

    def __init__(self, link: bool = False) -> None:
        self.unread: list[str] = []
        self._owner = os.geteuid() if link else -1
        self._linked: dict[tuple[int, int], str] = {}

    def children(self, directory: str) -> list[os.DirEntry[str]]:
        """What a directory has; nothing where it cannot be read."""
        try:
            with os.scandir(directory) as entries:
                return list(entries)
        except PermissionError:
            self.unread.append(directory)
            return []

    def file(self, source: str, target: str, found: os.stat_result) -> None:
        """Copy anything but a directory."""
        key = (found.st_dev, found.st_ino)
        if key in self._linked:
            os.link(self._linked[key], target, follow_symlinks=False)
            return
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(source), target)
            times = (found.st_atime_ns, found.st_mtime_ns)
            os.utime(target, ns=times, follow_symlinks=False)
        elif stat.S_ISREG(found.st_mode):
            if found.st_uid == self._owner and _link(source, target):
                return
            self._regular(source, target, found)
        elif stat.S_ISFIFO(found.st_mode):
            os.mkfifo(target, 0o600)
            os.chmod(target, stat.S_IMODE(found.st_mode))
        else:
            return
        if found.st_nlink > 1:
            self._linked[key] = target

    def _regular(self, source: str, target: str, found: os.stat_result) -> None:
        out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if found.st_size:
                self._content(source, out, found.st_size)
            os.utime(out, ns=(found.st_atime_ns, found.st_mtime_ns))
            os.fchmod(out, stat.S_IMODE(found.st_mode))
        finally:
            os.close(out)

    def _content(self, source: str, out: int, size: int) -> None:
        try:
            file = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except PermissionError:
            self.unread.append(source)
            return
        try:
            if not _clone(file, out):
                _copy_data(file, out, size)
        finally:
            os.close(file)


def has_reflinks(directory: str) -> bool:
    """True if files in a directory can share their blocks; it must be possible to write there."""
    names = [os.path.join(directory, f"reflink-{os.getpid()}-{n}") for n in (1, 2)]
    fds: list[int] = []
    try:
        for name in names:
            fds.append(os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        os.write(fds[0], bytes(4096))
        return _clone(fds[0], fds[1])
    finally:
        for fd, name in zip(fds, names, strict=False):
            os.close(fd)
            os.unlink(name)


def _link(source: str, target: str) -> bool:
    """Give a file another name; False where that cannot be, and it has to be copied."""
    try:
        os.link(source, target, follow_symlinks=False)
        return True
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False


def _clone(file: int, out: int) -> bool:
    """Share the blocks; False where the file system cannot."""
    try:
        fcntl.ioctl(out, _FICLONE, file)
        return True
    except OSError as error:
        if error.errno not in _NO_CLONE:
            raise
        return False


def _copy_data(file: int, out: int, size: int) -> None:
    """Copy what a file holds; its holes stay holes (lseek(2), SEEK_DATA)."""
    os.truncate(out, size)
    offset = 0
    while offset < size:
        try:
            offset = os.lseek(file, offset, os.SEEK_DATA)
            end = os.lseek(file, offset, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            end = size
        os.lseek(out, offset, os.SEEK_SET)
        while offset < end:
            copied = os.sendfile(out, file, offset, min(_CHUNK, end - offset))
            if not copied:
                return
            offset += copied

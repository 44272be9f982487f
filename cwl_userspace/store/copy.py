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


def copy_tree(source: str, target: str) -> None:
    """Copy a directory to a place where there is none; hard links stay hard links.

    What the caller may not read cannot be copied and stays empty. Raise OSError otherwise.
    """
    linked: dict[tuple[int, int], str] = {}
    waiting = [(source, target)]
    made = []
    while waiting:
        source, target = waiting.pop()
        found = os.lstat(source)
        os.mkdir(target, 0o700)
        made.append((target, found))
        for entry in _children(source):
            place = os.path.join(target, entry.name)
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), place)
            elif entry.is_dir():
                waiting.append((entry.path, place))
            else:
                _file(entry.path, place, entry.stat(follow_symlinks=False), linked)
    for target, found in reversed(made):
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.chmod(target, stat.S_IMODE(found.st_mode))


def _children(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except PermissionError:
        return []


def _file(
    source: str, target: str, found: os.stat_result, linked: dict[tuple[int, int], str]
) -> None:
    key = (found.st_dev, found.st_ino)
    if key in linked:
        os.link(linked[key], target)
        return
    if found.st_nlink > 1:
        linked[key] = target
    out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _content(source, out, found.st_size)
        os.utime(out, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.fchmod(out, stat.S_IMODE(found.st_mode))
    finally:
        os.close(out)


def _content(source: str, out: int, size: int) -> None:
    try:
        file = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        try:
            fcntl.ioctl(out, _FICLONE, file)
            return
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
        offset = 0
        while offset < size:
            copied = os.sendfile(out, file, offset, min(_CHUNK, size - offset))
            if not copied:
                break
            offset += copied
    finally:
        os.close(file)

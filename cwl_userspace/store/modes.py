"""Modes in a store of a group, and in trees whatever the site's default ACLs are.

A store is a group's if its directory has the set-group-ID bit and may be written by the group, as
``chmod 2775`` makes it: the usual sign on Unix, which git and make know as well. Then all that is
made in it can be read and removed by each member, whatever the umask of who makes it.
"""

from __future__ import annotations

import os
import stat

_OF_A_GROUP = stat.S_ISGID | stat.S_IWGRP
_ACLS = ("system.posix_acl_default", "system.posix_acl_access")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def is_of_a_group(directory: str) -> bool:
    """True for the directory of a group's store."""
    try:
        return os.stat(directory).st_mode & _OF_A_GROUP == _OF_A_GROUP
    except OSError:
        return False


def for_the_owner(path: str, flags: int) -> int:
    """An ``opener`` of files that nobody else may write, whatever the umask."""
    return os.open(path, flags, 0o644)


def make_directories(top: str, names: tuple[str, ...]) -> None:
    """Make directories of a store, for the group to write in if ``top`` is a group's.

    Nobody else may write in them, nor in ``top`` if it is made, whatever the umask: who could put
    something in the place of a tree would have others run it.
    """
    missing = [name for name in names if not os.path.isdir(os.path.join(top, name))]
    for name in missing:
        path = top
        for part in ("", *name.split("/")):
            path = os.path.join(path, part)
            os.makedirs(path, mode=0o755, exist_ok=True)
    if missing and is_of_a_group(top):
        for name in missing:
            path = top
            for part in name.split("/"):
                path = os.path.join(path, part)
                open_directory(path)


def open_directory(path: str) -> None:
    """Let the group write in a directory; another user's is as he has made it."""
    try:
        os.chmod(path, os.stat(path).st_mode & 0o7777 | _OF_A_GROUP | 0o070)
    except OSError:
        pass


def open_tree(top: str) -> None:
    """Let the group read and execute what the owner may below a directory, and remove it all.

    The bits of the owner, and of others, stay; but all may be read by the owner, who is no root
    over files of another group, in whatever name space. A directory can be emptied by who may
    write in it, so the group may write in all of them; in a stored tree itself nobody writes. From
    a sticky one nobody else could remove a file, so only an empty one is sticky.
    """
    root = os.open(top, _DIRECTORY)
    closed: list[tuple[bytes, int]] = []
    waiting = [b"."]
    try:
        while waiting:
            name = waiting.pop()
            mode = stat.S_IMODE(os.stat(name, dir_fd=root, follow_symlinks=False).st_mode)
            os.chmod(name, mode | 0o770, dir_fd=root)
            inner, is_empty = _open_files(name, root)
            wanted = (mode if is_empty else mode & ~stat.S_ISVTX) | 0o570
            if wanted != mode | 0o770:
                closed.append((name, wanted))
            waiting += inner
        for name, mode in reversed(closed):
            os.chmod(name, mode, dir_fd=root)
    finally:
        os.close(root)


def _open_files(name: bytes, root: int) -> tuple[list[bytes], bool]:
    """Let the group read the files of a directory; the directories in it, and if it is empty."""
    directory = os.open(name, _DIRECTORY, dir_fd=root)
    inner = []
    is_empty = True
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                is_empty = False
                if entry.is_dir(follow_symlinks=False):
                    inner.append(os.path.join(name, os.fsencode(entry.name)))
                elif not entry.is_symlink():
                    mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
                    wanted = mode | 0o440 | (mode & 0o100) >> 3
                    if wanted != mode:
                        os.chmod(entry.name, wanted, dir_fd=directory)
    finally:
        os.close(directory)
    return inner, is_empty


def without_acls(directory: int | str) -> None:
    """Take the ACLs from an empty directory that it has inherited.

    In a tree the modes of the image decide; a default ACL would change those of all that is made.
    """
    for name in _ACLS:
        try:
            os.removexattr(directory, name)
        except OSError:  # there is none, or the file system knows none
            pass

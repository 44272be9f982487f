"""Try in every way to change a tree, and see what has changed.

An attempt counts by what it changed, never by what a system call returned: an engine may lie.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_READABLE = 1 << 16


def changes(place: str) -> list[str]:
    """Try in every way to change what is in a directory; the names that then differ."""
    before = manifest(place)
    for path in sorted(before):
        for change in _ways(path, os.path.isdir(path)):
            try:
                change()
            except OSError:
                continue
    return differences(before, manifest(place))


def manifest(top: str) -> dict[str, tuple[Any, ...]]:
    """All of a tree that could be changed: names, kinds, modes, owners, times, contents."""
    found: dict[str, tuple[Any, ...]] = {}
    for directory, names, files in os.walk(top):
        for path in (directory, *(os.path.join(directory, n) for n in (*names, *files))):
            if path not in found and os.path.lexists(path):
                found[path] = _facts(path)
    return found


def differences(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """The paths that are in one manifest only, or differ."""
    return sorted(p for p in before.keys() | after if before.get(p) != after.get(p))


def text(path: str) -> str:
    """The beginning of a file; nothing where it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return ""
    try:
        return os.read(fd, _READABLE).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    finally:
        os.close(fd)


def names(place: str) -> list[str]:
    """What a directory has; nothing for one that is not there or closed."""
    try:
        return sorted(os.listdir(place))
    except OSError:
        return []


def with_file(path: str, use: Callable[[int], object]) -> None:
    """Call a function with a descriptor of a file."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        use(fd)
    finally:
        os.close(fd)


def _facts(path: str) -> tuple[Any, ...]:
    what = os.lstat(path)
    owner = (what.st_uid, what.st_gid, what.st_nlink)
    if os.path.islink(path):
        return (what.st_mode, owner, what.st_mtime_ns, os.readlink(path))
    content = names(path) if os.path.isdir(path) else text(path)
    return (what.st_mode, owner, what.st_mtime_ns, what.st_size, content, os.listxattr(path))


def _ways(path: str, directory: bool) -> list[Callable[[], Any]]:
    """Each way to change one file or directory, the last being its end."""
    fd_path = "/proc/self/fd/{}"

    def write(flags: int) -> None:
        fd = os.open(path, flags | os.O_NONBLOCK)
        try:
            os.write(fd, b"changed")
        finally:
            os.close(fd)

    def by_descriptor() -> None:
        with_file(path, lambda fd: os.fchmod(fd, 0o753))

    def by_name_of_descriptor() -> None:
        with_file(path, lambda fd: os.chmod(fd_path.format(fd), 0o752))
        with_file(path, lambda fd: os.close(os.open(fd_path.format(fd), os.O_RDWR | os.O_TRUNC)))

    ways: list[Callable[[], Any]] = [
        lambda: os.utime(path, (1, 1)),
        lambda: os.utime(path, (2, 2), follow_symlinks=False),
        lambda: os.chmod(path, 0o751),
        by_descriptor,
        lambda: os.setxattr(path, "user.trial", b"x"),
        by_name_of_descriptor,
    ]
    if directory:
        return [
            *ways,
            lambda: os.mkdir(f"{path}/made"),
            lambda: os.close(os.open(f"{path}/new", os.O_WRONLY | os.O_CREAT)),
            lambda: os.symlink("x", f"{path}/symlink"),
            lambda: os.mkfifo(f"{path}/fifo"),
        ]
    return [
        *ways,
        *(lambda flags=flags: write(flags) for flags in (os.O_RDWR, os.O_WRONLY | os.O_APPEND)),
        lambda: os.truncate(path, 3),
        lambda: os.link(path, f"{path}.linked"),
        lambda: os.link(path, f"/tmp/{os.path.basename(path)}.linked"),
        lambda: os.rename(path, f"{path}.renamed"),
        lambda: os.unlink(path),
    ]

"""What a step has changed in a tree: two looks at it, compared.

A file has changed where its inode, its times, its mode or its size have: its change time cannot be
set by a program (inode(7)), so nothing that is written is overlooked.
"""

from __future__ import annotations

import os
import stat
import time
from typing import NamedTuple

# File systems stamp by a clock that ticks at 100 Hz or faster.
_TICK = 0.011
_OWN = 0o700
# The kernel's part of a root: what is there is never a part of an image's changes.
_OF_THE_KERNEL = (b"dev", b"proc", b"sys")


class Seen(NamedTuple):
    """One file as it was seen. ``mode`` has the kind in it."""

    mode: int
    inode: int
    changed: int
    modified: int
    size: int
    links: int


class Snapshot:
    """All files of a tree by their names below it, that of the root being empty."""

    def __init__(self, root: str) -> None:
        self.root = os.fsencode(root)
        self.files: dict[bytes, Seen] = {}
        self._closed: dict[bytes, int] = {}

    def path(self, name: bytes) -> bytes:
        """Where a file is on this host."""
        return os.path.join(self.root, name) if name else self.root

    def take(self) -> None:
        """Look at every file; directories that their modes close are open until ``close``."""
        waiting = [b""]
        self.files[b""] = self._seen(b"", os.lstat(self.root))
        while waiting:
            above = waiting.pop()
            with os.scandir(self.path(above)) as entries:
                for entry in entries:
                    name = os.path.join(above, entry.name)
                    self.files[name] = self._seen(name, entry.stat(follow_symlinks=False))
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name)

    def _seen(self, name: bytes, found: os.stat_result) -> Seen:
        mode = found.st_mode
        if stat.S_ISDIR(mode) and mode & _OWN != _OWN:
            self._closed[name] = stat.S_IMODE(mode)
            os.chmod(self.path(name), stat.S_IMODE(mode) | _OWN)
        return Seen(
            mode, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_nlink
        )

    def close(self) -> None:
        """Give the directories that were opened their modes back."""
        for name in sorted(self._closed, key=len, reverse=True):
            if os.path.lexists(self.path(name)):
                os.chmod(self.path(name), self._closed[name])
        self._closed = {}

    def drop(self, name: bytes) -> None:
        """Remove a file or an empty directory; its parent keeps the time that it has."""
        above = self.path(os.path.dirname(name))
        found = os.lstat(above)
        if stat.S_ISDIR(self.files.pop(name).mode):
            os.rmdir(self.path(name))
        else:
            os.unlink(self.path(name))
        os.utime(above, ns=(found.st_atime_ns, found.st_mtime_ns))

    def settle(self, name: bytes) -> Seen:
        """Give a file the mode and the whole seconds that a layer of it will have."""
        seen = self.files[name]
        if os.geteuid() == 0:  # for whom an engine may have had no need to emulate a change
            os.chown(self.path(name), 0, os.getegid(), follow_symlinks=False)
        keep = 0o1777 if stat.S_ISDIR(seen.mode) else 0o777
        mode = stat.S_IMODE(seen.mode) & keep
        if mode != stat.S_IMODE(seen.mode):
            if name in self._closed:
                self._closed[name] = mode
            else:
                os.chmod(self.path(name), mode)
        modified = seen.modified // 1_000_000_000 * 1_000_000_000
        if modified != seen.modified:
            os.utime(self.path(name), ns=(modified, modified), follow_symlinks=False)
        seen = seen._replace(mode=stat.S_IFMT(seen.mode) | mode, modified=modified)
        self.files[name] = seen
        return seen


def snapshot(root: str) -> Snapshot:
    """A look at a tree before something is done to it: what changes then has a later time."""
    taken = Snapshot(root)
    taken.take()
    taken.close()
    time.sleep(_TICK)
    return taken


def removed(before: Snapshot, after: Snapshot) -> list[bytes]:
    """The names that are gone, in order; of a whole directory that is gone only its own."""
    return sorted(
        name
        for name in before.files
        if name not in after.files
        and _is_directory(after, os.path.dirname(name))
        and not _of_the_kernel(name)
    )


def changed(before: Snapshot, after: Snapshot) -> list[bytes]:
    """The names that are new or have changed, parents before what is in them."""
    return sorted(
        name
        for name, seen in after.files.items()
        if not _of_the_kernel(name) and _differs(before.files.get(name), seen)
    )


def _of_the_kernel(name: bytes) -> bool:
    return name.split(b"/", 1)[0] in _OF_THE_KERNEL


def _differs(old: Seen | None, new: Seen) -> bool:
    if old is None:
        return True
    if stat.S_ISDIR(new.mode):
        return (old.mode, old.modified) != (new.mode, new.modified)
    # Another name for the same file changes its number of links, and its change time.
    return old != new


def _is_directory(snapshot: Snapshot, name: bytes) -> bool:
    seen = snapshot.files.get(name)
    return seen is not None and stat.S_ISDIR(seen.mode)

"""What an engine puts into a tree so that it can mount upon it: taken out again after a step."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from cwl_userspace.build.snapshot import Seen, Snapshot
from cwl_userspace.engines.view import View

# Made by every engine, in every container.
_ALWAYS = ("/dev", "/proc", "/sys", "/tmp", "/var/tmp")


class Stubs:
    """The places where a step's mounts go and that the tree lacks before it."""

    def __init__(self, before: Snapshot, places: Iterable[str]) -> None:
        self._before = before
        view = View(os.fsdecode(before.root))
        self._missing: set[bytes] = set()
        self._above: set[bytes] = {b""}
        for place in (*_ALWAYS, *places):
            name = os.fsencode(view.resolve(place).strip("/"))
            while name and name not in before.files:
                self._missing.add(name)
                name = os.path.dirname(name)
            self._above.add(name)

    def strip(self, after: Snapshot) -> None:
        """Remove those that are still empty, and give their directories their times back."""
        for name in sorted(self._missing, key=len, reverse=True):
            seen = after.files.get(name)
            if seen and (_is_empty_file(seen) or _is_empty_directory(after, name)):
                after.drop(name)
        before, now = _children(self._before), _children(after)
        for name in self._above:
            old, new = self._before.files.get(name), after.files.get(name)
            if old and new and stat.S_ISDIR(new.mode) and before.get(name) == now.get(name):
                self._give_time_back(after, name, old)

    @staticmethod
    def _give_time_back(after: Snapshot, name: bytes, old: Seen) -> None:
        new = after.files[name]
        if new.modified != old.modified:
            os.utime(after.path(name), ns=(old.modified, old.modified))
            after.files[name] = new._replace(modified=old.modified)


def _is_empty_file(seen: Seen) -> bool:
    return stat.S_ISREG(seen.mode) and not seen.size


def _is_empty_directory(snapshot: Snapshot, name: bytes) -> bool:
    return stat.S_ISDIR(snapshot.files[name].mode) and not os.listdir(snapshot.path(name))


def _children(snapshot: Snapshot) -> dict[bytes, set[tuple[bytes, int]]]:
    """The names and inodes in each directory that is not empty."""
    found: dict[bytes, set[tuple[bytes, int]]] = {}
    for name, seen in snapshot.files.items():
        if name:
            found.setdefault(os.path.dirname(name), set()).add((name, seen.inode))
    return found

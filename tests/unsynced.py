"""The marks of trees that the disk may not have yet, as a test finds them or makes them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cwl_userspace.store.owner import Owner
from cwl_userspace.store.store import MARK

# What a mark says of a process on another host.
ELSEWHERE = "4242.1000.4026531836.0123456789ab.another-host"


def before_the_crash() -> str:
    """What a mark says of a process of this host that ended with its power."""
    me = Owner.me()
    return str(Owner(me.pid, me.start, me.space, "ba9876543210", me.host))


def mark(tree: Path, said: str, age: float = 0.0) -> None:
    """Give a tree's directory a mark with these words, of which the last sign of life is old."""
    path = tree / MARK
    path.unlink(missing_ok=True)
    path.symlink_to(said)
    moment = time.time() - age
    os.utime(path, (moment, moment), follow_symlinks=False)


def wait_until_synced(tree: Path) -> None:
    """Wait for the process that syncs a tree: it removes the mark, which is a change of the tree's
    directory."""
    deadline = time.monotonic() + 60
    while os.path.lexists(tree / MARK):
        assert time.monotonic() < deadline, f"{tree / MARK} is still there"
        time.sleep(0.01)


def empty(tree: Path, *names: str) -> None:
    """Take the content of files, as a crash does before the disk has it; all else stays."""
    for name in names:
        path = tree / name
        before = path.stat()
        os.truncate(path, 0)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

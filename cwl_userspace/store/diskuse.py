"""What files take on disk."""

from __future__ import annotations

import contextlib
import os
import stat

_BLOCK = 512


def disk_use(path: str) -> int:
    """The bytes of a file or a whole tree on disk: a file with several names counts once.

    What cannot be looked at counts for nothing, and so does what is not there.
    """
    seen = set()
    total = 0
    waiting = [path]
    while waiting:
        path = waiting.pop()
        with contextlib.suppress(OSError):
            found = os.lstat(path)
            if (found.st_dev, found.st_ino) in seen:
                continue
            if found.st_nlink > 1:
                seen.add((found.st_dev, found.st_ino))
            total += found.st_blocks * _BLOCK
            if stat.S_ISDIR(found.st_mode):
                waiting += [os.path.join(path, name) for name in os.listdir(path)]
    return total

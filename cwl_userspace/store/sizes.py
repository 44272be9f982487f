"""How large trees are, and what of that other trees have as well."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple


class Sizes(NamedTuple):
    """The bytes of a tree's files: all, and those that are another tree's, too, by hard links."""

    all: int
    shared: int


def sizes(rootfs: str) -> Sizes:
    """Look at every file of a tree once; a file with several names in it counts once.

    Blocks that a file system shares (reflinks) cannot be seen this way. What cannot be looked at
    counts for nothing.
    """
    names: dict[tuple[int, int], int] = {}
    whole = shared = 0
    several: dict[tuple[int, int], os.stat_result] = {}
    waiting = [rootfs]
    while waiting:
        for found in _look(waiting):
            if found.st_nlink == 1:
                whole += found.st_size
                continue
            key = (found.st_dev, found.st_ino)
            names[key] = names.get(key, 0) + 1
            several[key] = found
    for key, found in several.items():
        whole += found.st_size
        shared += found.st_size if found.st_nlink > names[key] else 0
    return Sizes(whole, shared)


def _look(waiting: list[str]) -> list[os.stat_result]:
    """What is known of the files of one waiting directory; its directories wait next."""
    found = []
    try:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                seen = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(seen.st_mode):
                    found.append(seen)
    except OSError:
        pass
    return found

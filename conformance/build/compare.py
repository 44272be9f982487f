"""Compares two trees: names, kinds, modes, contents, links. Times are not compared."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# What differs between two builds with one engine as well, since the time is written into it, or
# the order in which a disk gives its entries.
TIMES = {
    r"var/log/(apt|dpkg|alternatives|bootstrap).*": "when each package was installed",
    r"var/cache/ldconfig/aux-cache": "times and inodes of libraries",
    r"etc/shadow-?": "the day on which an account was made",
}


def facts(tree: Path) -> dict[str, tuple[str, ...]]:
    """What there is at each name: kind and mode, and what it holds."""
    found = {}
    for directory, names, files in os.walk(tree):
        for name in (*names, *files):
            path = Path(directory, name)
            found[str(path.relative_to(tree))] = _facts(path)
    return found


def _facts(path: Path) -> tuple[str, ...]:
    seen = path.lstat()
    held = ""
    if stat.S_ISLNK(seen.st_mode):
        held = f"-> {path.readlink()}"
    elif stat.S_ISREG(seen.st_mode):
        held = f"{seen.st_size} bytes, {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    return stat.filemode(seen.st_mode), held


def differences(
    one: Mapping[str, tuple[str, ...]], other: Mapping[str, tuple[str, ...]]
) -> tuple[list[str], list[str]]:
    """A line for each name that differs, and for each that differs but in times only."""
    real, excused = [], []
    for name in sorted({*one, *other}):
        left, right = one.get(name, ("nothing",)), other.get(name, ("nothing",))
        if left == right:
            continue
        reason = next((why for p, why in TIMES.items() if re.fullmatch(p, name)), None)
        if reason and left[0] == right[0]:
            excused.append(f"{name}: {reason}")
        else:
            real.append(f"{name}: {' '.join(left)} or {' '.join(right)}")
    return real, excused


def main(words: Sequence[str]) -> int:
    """Print what differs between two trees; 1 if anything does that may not."""
    one, other = (facts(Path(word)) for word in words)
    real, excused = differences(one, other)
    for line in excused:
        print(f"may differ  {line}")
    for line in real:
        print(f"DIFFERS     {line}")
    print(f"{len(one)} and {len(other)} names, {len(real)} differences, {len(excused)} in times")
    return 1 if real else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Each system call of a load fails in turn, or is its last: the store stays whole.

Long, so only ``tox -e faults`` runs it. It prints how many calls of each kind were made to fail.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.failing import KILL, Fault, Trial

CALLS = [
    "mkdir", "mkdirat", "openat", "write", "rename", "renameat", "linkat", "symlinkat", "symlink",
    "unlinkat", "rmdir", "unlink", "fchmodat", "fchmod", "utimensat", "syncfs", "getdents64",
    "newfstatat", "close",
]  # fmt: skip
WAYS = ["error=ENOSPC", "error=EIO", "error=EACCES", KILL]
# What only looks is not told that a disk is full.
LOOKS = ("getdents64", "newfstatat", "close")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", CALLS)
def test_every_call_may_fail(tmp_path: Path, call: str, way: str) -> None:
    if call in LOOKS and way != KILL:
        way = "error=EIO"
    trial = Trial(tmp_path)
    first = trial.first(call)
    count = 0
    for when in range(first or 1, 5000):
        if not trial.judge(Fault(call, way, when)).hit:
            break
        count += 1
    print(f"{call} {way}: {count} calls from {first} on")
    assert count or not first

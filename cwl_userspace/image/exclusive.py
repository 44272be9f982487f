"""A lock of one file or directory, and a word for who waits for it: flock(2)."""

from __future__ import annotations

import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# How long nothing is said of a wait, in seconds.
_SILENT = 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5


def lock(fd: int, path: str, say: Callable[[str], object]) -> None:
    """Wait for the lock of an open file, which ends with the descriptor.

    Once it takes long, ``say`` is told who has it. Where the file system has no locks, or they
    do not work, there is none: whatever is done under it must be right without.
    """
    told = time.monotonic() + _SILENT
    pause = _FIRST_PAUSE
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > told:
                told = float("inf")
                say(f"waiting for {_holder(fd)}, which holds the lock of {path}")
        except OSError:
            return
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _holder(fd: int) -> str:
    """The process that has the lock, if it is one of this host (proc_locks(5))."""
    what = os.fstat(fd)
    file = f"{os.major(what.st_dev):02x}:{os.minor(what.st_dev):02x}:{what.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as table:
            for line in table:
                _, kind, _, _, pid, locked = line.split()[:6]
                if kind == "FLOCK" and locked == file:
                    return f"process {pid}"
    except (OSError, ValueError):
        pass
    return "another process"

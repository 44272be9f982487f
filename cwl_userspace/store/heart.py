"""Signs of life: a thread that touches a file again and again, and a clock that all nodes share.

Only the file system's own time is compared, that of a file which one has just touched with that of
another in the same directory: the clocks of two nodes may differ by minutes.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

from cwl_userspace.store.owner import private_name

# Seconds between two signs of life.
BEAT = 3.0


@contextlib.contextmanager
def beating(touch: Callable[[], object], period: float = BEAT) -> Iterator[None]:
    """Call ``touch`` every ``period`` seconds; what it cannot do is let go.

    The thread has ended afterwards: a run may follow, and only a process of one thread can enter
    a user name space.
    """
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(period):
            with contextlib.suppress(OSError):
                touch()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def now(directory: str) -> float:
    """The time by a directory's file system; by this host's clock where it cannot be written."""
    path = os.path.join(directory, f".{private_name()}")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            return os.fstat(fd).st_mtime
        finally:
            os.close(fd)
            os.unlink(path)
    except OSError:
        return time.time()


def last_sign(path: str) -> float:
    """When a file or directory was last touched; raise FileNotFoundError if it is gone.

    It is opened for that: a client of NFS may believe an old time until it opens a file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError:
        return os.lstat(path).st_mtime
    try:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)

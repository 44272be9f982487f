"""Private directories in the store, and locks that are advice."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator

from cwl_userspace.image.confine import remove_tree
from cwl_userspace.store.store import Store, abandoned, private_name


@contextlib.contextmanager
def workspace(store: Store) -> Iterator[str]:
    """A private directory that is gone afterwards, whatever happened in it.

    What killed processes of this host left behind goes, too.
    """
    sweep(store)
    path = os.path.join(store.path, "tmp", private_name())
    try:
        os.mkdir(path, 0o755)
    except OSError as error:
        raise store.failure(error, "make a directory") from None
    try:
        yield path
    finally:
        remove_tree(path)


def sweep(store: Store) -> None:
    """Remove what processes of this host that are no more left in the store."""
    top = os.path.join(store.path, "tmp")
    try:
        names = os.listdir(top)
    except OSError:
        return
    for name in names:
        if abandoned(name.removesuffix(".file")):
            mine = os.path.join(top, private_name())
            # Of several processes that sweep at once one gets it, and none trips over another.
            with contextlib.suppress(OSError):
                os.rename(os.path.join(top, name), mine)
                remove_tree(mine)


@contextlib.contextmanager
def lock(store: Store, name: str, patience: float = 3600.0) -> Iterator[bool]:
    """Hold a lock so that others need not do the same work; go on without where none are to be had.

    ``patience`` is how long to wait for another holder, in seconds; False is given if that one
    still has it. Correctness never depends on this: on some shared file systems a lock holds on
    one node only, or not at all.
    """
    path = os.path.join(store.path, "locks", name)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        yield True
        return
    try:
        yield _acquire(fd, patience)
    finally:
        os.close(fd)


def _acquire(fd: int, patience: float) -> bool:
    """False if the time is over and another still has it."""
    deadline = time.monotonic() + patience
    pause = 0.02
    while time.monotonic() < deadline:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                return True  # ENOLCK, ENOSYS, EOPNOTSUPP, whatever: there are no locks here
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)
    return False

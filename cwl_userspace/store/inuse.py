"""What is in use: a user says so by an empty file, whose name says what is used and by whom.

``leases/KIND-WHAT.RANDOM.OWNER``: a ``run`` has a tree (WHAT is its ChainID) or a container of
``create`` (its id); ``add`` and ``build`` are at work on the store as a whole. Who removes a tree
first holds the lease ``gone-CHAIN`` and then looks for users; who uses one first says so and then
looks for that lease: so one of the two sees the other, without a lock. Where the store cannot be
written, nothing is said.

This is on the way of every run; who asks for users finds them in store/users.py.
"""

from __future__ import annotations

import os
import time

from cwl_userspace.store.owner import private_name
from cwl_userspace.store.store import LEASES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cwl_userspace.store.store import Store

RUN, GONE = "run", "gone"
# Seconds between two signs of life of a run.
RUN_BEAT = 60.0
# So old must the note of the last use be to be written anew.
_USE_NOTED = 3600.0
_REMOVAL_PATIENCE = 60.0


class Use:
    """One use of what is below a tree's directory, ``STORE/PLACE/NAME/rootfs``.

    A ``silent`` one, of a store that is only read, is not said.
    """

    __slots__ = ("_next", "_path", "_rootfs", "_silent", "_store", "_what")

    def __init__(self, rootfs: str, what: str, silent: bool = False) -> None:
        self._silent = silent
        self._rootfs = rootfs
        self._what = what
        self._store = os.path.dirname(os.path.dirname(os.path.dirname(rootfs)))
        self._path = ""
        self._next = 0.0

    def begin(self) -> bool:
        """Say that the tree is used; False if it is not there, or not any more."""
        self._path = "" if self._silent else say_used(self._store, RUN, self._what)
        if self._path:
            self._next = time.monotonic() + RUN_BEAT
            if os.path.lexists(os.path.join(self._store, LEASES, f"{GONE}-{self._what}")):
                self._await_removal()
        if os.path.isdir(self._rootfs):
            return True
        self.end()
        return False

    def _await_removal(self) -> None:
        """Wait until who removes the tree has done so, or has seen us, or is dead."""
        from cwl_userspace.store.lease import lease
        from cwl_userspace.store.store import Store

        with lease(Store(self._store), f"{GONE}-{self._what}", _REMOVAL_PATIENCE):
            return

    def wait(self) -> float:
        """Seconds until the next sign of life is due."""
        return max(0.0, self._next - time.monotonic()) if self._path else RUN_BEAT

    def look(self) -> None:
        """Give a sign of life if it is time for one."""
        if self._path and time.monotonic() >= self._next:
            self._next = time.monotonic() + RUN_BEAT
            try:
                os.utime(self._path)
            except OSError:
                pass

    def end(self) -> None:
        """It is used no more."""
        if self._path:
            unsay(self._path)
            self._path = ""


def note_use(store: Store, hexadecimal: str) -> None:
    """Note that an image is used now, to the hour: the time of its record."""
    path = os.path.join(store.path, "images", f"{hexadecimal}.json")
    try:
        if os.stat(path).st_mtime < time.time() - _USE_NOTED:
            os.utime(path)
    except OSError:  # another user's, or in a store that is only read
        pass


def say_used(store: str, kind: str, what: str) -> str:
    """Make the file of a use in a store; its path, or nothing where none can be made."""
    path = f"{store}/{LEASES}/{kind}-{what}.{private_name()}"
    for _ in range(2):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
            return path
        except FileNotFoundError:  # a store of format 1, or none
            try:
                os.mkdir(os.path.join(store, LEASES), 0o755)
            except OSError:
                return ""
        except OSError:
            return ""
    return ""


def unsay(path: str) -> None:
    """Remove the file of a use."""
    try:
        os.unlink(path)
    except OSError:
        pass

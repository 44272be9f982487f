"""What is in use: an empty file for each user, whose name says what is used and by whom.

``leases/KIND-WHAT.RANDOM.OWNER``: a ``run`` has a tree (WHAT is its ChainID) or a container of
``create`` (its id); ``add`` and ``build`` are at work on the store as a whole. Who removes a tree
first holds the lease ``gone-CHAIN`` and then looks for users; who uses one first says so and then
looks for that lease: so one of the two sees the other, without a lock. Where the store cannot be
written, nothing is said.

A run says it in a fifth of a millisecond, so nothing heavy is imported here.
"""

from __future__ import annotations

import os
import time

from cwl_userspace.store.owner import Owner, private_name
from cwl_userspace.store.store import LEASES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cwl_userspace.store.store import Store

RUN, ADD, BUILD = "run", "add", "build"
GONE = "gone"
# Seconds between two signs of life of a run, and how many without one make it a dead one for who
# cannot see it: it may be stopped for long, by a scheduler that has more urgent jobs.
RUN_BEAT = 60.0
RUN_SILENCE = 3600.0
_SILENCE = 60.0
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
        self._path = "" if self._silent else _say(self._store, RUN, self._what)
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
            _unlink(self._path)
            self._path = ""


class Busy:
    """A context in which this process is at work: ``what`` is a tree's chain, or any word.

    Signs of life come from a thread, which has ended afterwards.
    """

    def __init__(self, store: Store, kind: str, what: str = "store") -> None:
        self._place = store.path
        self._kind = kind
        self._what = what

    def __enter__(self) -> None:
        from cwl_userspace.store.heart import beating

        path = self._path = _say(self._place, self._kind, self._what)
        self._beating = beating(lambda: os.utime(path)) if path else None
        if self._beating is not None:
            self._beating.__enter__()

    def __exit__(self, *error: object) -> None:
        if self._beating is not None:
            self._beating.__exit__(None, None, None)
            _unlink(self._path)


def in_use(store: Store) -> dict[str, list[Owner]]:
    """What is in use by whom: ChainIDs and containers' ids of 64 digits, without ``sha256:``."""
    return _users(store, RUN)


def at_work(store: Store) -> list[Owner]:
    """Who adds images to the store, or builds one."""
    return [o for kind in (ADD, BUILD) for found in _users(store, kind).values() for o in found]


def building(store: Store) -> list[Owner]:
    """Who builds an image, and so needs the steps and layers of earlier builds."""
    return [owner for found in _users(store, BUILD).values() for owner in found]


def stale(store: Store) -> list[str]:
    """The paths of leases whose owners are dead."""
    return [path for _, _, _, path, alive in _entries(store) if not alive]


def note_use(store: Store, hexadecimal: str) -> None:
    """Note that an image is used now, to the hour: the time of its record."""
    path = os.path.join(store.path, "images", f"{hexadecimal}.json")
    try:
        if os.stat(path).st_mtime < time.time() - _USE_NOTED:
            os.utime(path)
    except OSError:  # another user's, or in a store that is only read
        pass


def last_use(store: Store, hexadecimal: str) -> float:
    """When an image was used last, to the hour, or else added; 0 if it is not there."""
    try:
        return os.stat(os.path.join(store.path, "images", f"{hexadecimal}.json")).st_mtime
    except OSError:
        return 0.0


def _users(store: Store, wanted: str) -> dict[str, list[Owner]]:
    found: dict[str, list[Owner]] = {}
    for kind, what, owner, _, alive in _entries(store):
        if kind == wanted and alive and owner is not None:
            found.setdefault(what, []).append(owner)
    return found


def _entries(store: Store) -> Iterator[tuple[str, str, Owner | None, str, bool]]:
    """Kind, what, owner, path and whether the owner lives, of each lease."""
    from cwl_userspace.store.heart import last_sign, now

    top = os.path.join(store.path, LEASES)
    try:
        names = sorted(os.listdir(top))
    except OSError:
        return
    time_here = 0.0
    for name in names:
        head, _, private = name.partition(".")
        kind, _, what = head.partition("-")
        path = os.path.join(top, name)
        owner = Owner.parse(private.removesuffix(".dead").partition(".")[2])
        if owner is None:
            owner = _holder(path)
        dead = owner.is_dead() if owner is not None else None
        if dead is None:
            time_here = time_here or now(top)
            try:
                silent = time_here - last_sign(path)
            except FileNotFoundError:
                continue
            dead = silent > (RUN_SILENCE if kind == RUN else _SILENCE)
        yield kind, what, owner, path, not dead


def _holder(path: str) -> Owner | None:
    """Who holds a lease that names him in itself."""
    try:
        with open(path, "rb") as file:
            said = file.read(1024).decode("utf-8", "replace")
    except OSError:
        return None
    return Owner.parse(said.strip().partition(" ")[2].partition(".")[2])


def _say(store: str, kind: str, what: str) -> str:
    """Make the file of a use; its path, or nothing where none can be made."""
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


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass

"""Who uses what of a store, or is at work on it: those who are alive; see store/inuse.py."""

from __future__ import annotations

import os
from collections.abc import Iterator

from cwl_userspace.store.heart import beating, last_sign, now
from cwl_userspace.store.inuse import RUN, say_used, unsay
from cwl_userspace.store.owner import Owner
from cwl_userspace.store.store import LEASES, Store

ADD, BUILD = "add", "build"
# So many seconds without a sign of life make one dead for those who cannot see him. A run may be
# stopped for long, by a scheduler that has more urgent jobs.
RUN_SILENCE = 3600.0
_SILENCE = 60.0

# Kind, what, owner, path and whether the owner lives.
_Entry = tuple[str, str, "Owner | None", str, bool]


class Busy:
    """A context in which this process is at work: ``what`` is a tree's chain, or any word.

    Signs of life come from a thread, which has ended afterwards.
    """

    def __init__(self, store: Store, kind: str, what: str = "store") -> None:
        self._place = store.path
        self._kind = kind
        self._what = what

    def __enter__(self) -> None:
        path = self._path = say_used(self._place, self._kind, self._what)
        self._beating = beating(lambda: os.utime(path)) if path else None
        if self._beating is not None:
            self._beating.__enter__()

    def __exit__(self, *error: object) -> None:
        if self._beating is not None:
            self._beating.__exit__(None, None, None)
            unsay(self._path)


def in_use(store: Store) -> dict[str, list[Owner]]:
    """What is in use by whom: ChainIDs and containers' ids of 64 digits, without ``sha256:``."""
    return _users(store, RUN)


def at_work(store: Store) -> list[Owner]:
    """Who adds images to the store, or builds one."""
    return [o for kind in (ADD, BUILD) for found in _users(store, kind).values() for o in found]


def building(store: Store) -> list[Owner]:
    """Who builds an image, and so needs the steps and layers of earlier builds."""
    return [owner for found in _users(store, BUILD).values() for owner in found]


def stale(store: Store, here: bool = False) -> list[str]:
    """The paths of leases whose owners are dead; with ``here`` only of this host's."""
    return [path for _, _, _, path, alive in _entries(store, here) if not alive]


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


def _entries(
    store: Store, here: bool = False
) -> Iterator[tuple[str, str, Owner | None, str, bool]]:
    """Every lease; with ``here`` those of others count as alive."""
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
        if dead is None and not here:
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

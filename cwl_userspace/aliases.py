"""More names for containers than the one that each has: ``aliases/NAME`` in the store is an id.

An id stays when a container is renamed, so its aliases do. An alias of a container that is gone is
none: whoever wants the name takes it.
"""

from __future__ import annotations

import os

from cwl_userspace.store.modes import make_directories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cwl_userspace.store.store import Store

PLACE = "aliases"


def target(store: Store, name: str) -> str:
    """The id that a name stands for; empty if it stands for none, or cannot be one."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return ""
    try:
        with open(os.path.join(store.path, PLACE, name), encoding="ascii") as file:
            return file.read(128).strip()
    except (OSError, ValueError):
        return ""


def of(store: Store, identifier: str) -> Sequence[str]:
    """All aliases of a container, in order."""
    return sorted(name for name in _names(store) if target(store, name) == identifier)


def add(store: Store, name: str, identifier: str) -> None:
    """Have a name stand for a container; the caller has seen that it is free."""
    try:
        make_directories(store.path, (PLACE,))
    except OSError as error:
        raise store.failure(error, "name a container") from None
    store.write_file(f"{PLACE}/{name}", identifier + "\n")


def remove(store: Store, name: str) -> None:
    """Have a name stand for nothing; one that does already is no error."""
    try:
        os.unlink(os.path.join(store.path, PLACE, name))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise store.failure(error, "take a container's name away") from None


def _names(store: Store) -> list[str]:
    try:
        return os.listdir(os.path.join(store.path, PLACE))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise store.failure(error, "list the containers' names") from None

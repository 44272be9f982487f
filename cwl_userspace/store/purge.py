"""Remove a whole store, with all images, containers and builds in it."""

from __future__ import annotations

import os
from collections.abc import Callable

from cwl_userspace.errors import StoreError
from cwl_userspace.store.diskuse import disk_use
from cwl_userspace.store.owner import Owner
from cwl_userspace.store.phases import PRUNE, phase
from cwl_userspace.store.store import FORMAT, LEASES, REMOVED, Store
from cwl_userspace.store.users import at_work, in_use

# Names first, so that nobody finds what is going; the leases and the format last.
_PARTS = (
    "names", "images", "containers", "aliases", "trees", "packs", "blobs", "build", "tools",
    "locks", "tmp", LEASES,
)  # fmt: skip


def parts(store: Store) -> list[str]:
    """The paths of what belongs to a store. Raise StoreError for what is none, or none of ours."""
    if _format(store) != REMOVED and not store.check():
        raise StoreError(
            f"there is no store in {store.path}", "set CWL_USERSPACE_HOME to the one to remove"
        )
    paths = [os.path.join(store.path, name) for name in _PARTS]
    return [path for path in paths if os.path.lexists(path)]


def purge(store: Store, delete: Callable[[str], None]) -> int:
    """Remove a store's parts by ``delete``, and its directory if nothing else is in it.

    Return the bytes on disk that were freed. Raise StoreError if anything runs from it or is
    being added, or where it cannot be written. One who begins meanwhile is refused or seen.
    """
    found = parts(store)
    _refuse(store)
    size = sum(disk_use(path) for path in found)
    if _format(store) != REMOVED:
        os.makedirs(os.path.join(store.path, "tmp"), exist_ok=True)
        store.write_file("format", REMOVED + "\n")
        try:
            _refuse(store)
        except StoreError:
            store.write_file("format", FORMAT + "\n")
            raise
    with phase(PRUNE):
        try:
            for path in found:
                delete(path)
            os.unlink(os.path.join(store.path, "format"))
        except OSError as error:
            raise store.failure(error, "remove the store") from None
    try:
        os.rmdir(store.path)
    except OSError:
        pass  # something of others is in it, or its own directory may not be written
    return size


def users(store: Store) -> list[Owner]:
    """Who uses anything in a store."""
    return [owner for found in in_use(store).values() for owner in found] + at_work(store)


def _refuse(store: Store) -> None:
    found = users(store)
    if found:
        others = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise StoreError(
            f"the store {store.path} is in use by {found[0].shown()}{others}",
            "wait for its end, or kill it",
        )


def _format(store: Store) -> str:
    try:
        with open(os.path.join(store.path, "format"), encoding="ascii") as file:
            return file.read(64).strip()
    except (OSError, UnicodeDecodeError):
        return ""

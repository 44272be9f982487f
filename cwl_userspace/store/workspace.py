"""Private directories in the store, and what became of those whose processes are no more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from cwl_userspace.image.confine import remove_tree
from cwl_userspace.store.heart import beating, last_sign
from cwl_userspace.store.modes import is_of_a_group, open_directory, without_acls
from cwl_userspace.store.owner import owner_of, private_name
from cwl_userspace.store.store import Store
from cwl_userspace.store.users import stale

# After so many seconds without a sign of life a process that cannot be seen from here is dead. It
# may only have been stopped: then it finds its directory gone, and says so.
SILENCE = 60.0
# Names that are not of this format say nothing of their owners: older releases, or people.
_UNKNOWN_SILENCE = 24 * 3600.0


@contextlib.contextmanager
def workspace(store: Store) -> Iterator[str]:
    """A private directory that is gone afterwards, whatever happened in it.

    What killed processes of this host left behind goes, too; and so, later, does one that cannot
    be removed, for what was made in it is whole all the same.
    """
    sweep(store)
    path = os.path.join(store.path, "tmp", private_name())
    try:
        os.mkdir(path, 0o755)
        without_acls(path)  # so that nothing that is made in it inherits any
        if is_of_a_group(store.path):
            open_directory(path)
    except OSError as error:
        raise store.failure(error, "make a directory") from None
    try:
        with beating(lambda: os.utime(path)):
            yield path
    finally:
        with contextlib.suppress(OSError):
            remove_tree(path)


def sweep(store: Store) -> None:
    """Remove what processes of this host that are no more left in the store."""
    for path in leftovers(store):
        mine = os.path.join(store.path, "tmp", private_name())
        # Of several processes that sweep at once one gets it, and none trips over another.
        with contextlib.suppress(OSError):
            os.rename(path, mine)
            remove_tree(mine)
    for path in stale(store, here=True):
        with contextlib.suppress(OSError):
            os.unlink(path)


def leftovers(store: Store, now: float | None = None) -> list[str]:
    """The paths in ``tmp`` whose owners are dead.

    Given the file system's time, also of owners elsewhere who have given no sign of life.
    """
    top = os.path.join(store.path, "tmp")
    try:
        names = sorted(os.listdir(top))
    except OSError:
        return []
    return [path for name in names if abandoned(path := os.path.join(top, name), now)]


def abandoned(path: str, now: float | None = None) -> bool:
    """True if a private file or directory belongs to nobody who is alive; see ``leftovers``."""
    owner = owner_of(os.path.basename(path).removesuffix(".file"))
    dead = owner.is_dead() if owner is not None else None
    if dead is not None or now is None:
        return bool(dead)
    try:
        return now - last_sign(path) > (SILENCE if owner is not None else _UNKNOWN_SILENCE)
    except FileNotFoundError:
        return False

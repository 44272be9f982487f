"""A private directory for one run: mount points and copies that only this run sees."""

from __future__ import annotations

import os

from cwl_userspace.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Memory first: a hundred mount points are made and removed there in no time.
_PLACES = ("/dev/shm", "/tmp", "/var/tmp")
_LARGE_PLACES = ("/var/tmp", "/tmp")


def private_directory(environ: Mapping[str, str], identifier: str, large: bool) -> str:
    """The path of a directory for a run, not made yet; $TMPDIR decides where, if it is set.

    It is where programs may be executed, if there is such a place: proot starts a part of itself
    there. ``large`` says that a whole image is to be copied to it. Raise StoreError where nothing
    can be written at all.
    """
    wanted = environ.get("TMPDIR", "")
    places = [wanted] if os.path.isabs(wanted) else []
    places += _LARGE_PLACES if large else _PLACES
    return os.path.join(_usable(places), f"cwl-userspace-{identifier[:24]}")


def remove_private_directory(path: str) -> None:
    """Remove the directory with all in it; one that was never made is no error."""
    if os.path.lexists(path):
        from cwl_userspace.image.confine import remove_tree

        remove_tree(path)


def _usable(places: list[str]) -> str:
    writable = [p for p in places if os.access(p, os.W_OK | os.X_OK)]
    for place in writable:
        if not os.statvfs(place).f_flag & os.ST_NOEXEC:
            return place
    if not writable:
        raise StoreError("no temporary directory can be written", "set TMPDIR to one")
    return writable[0]

"""A private directory for one run: mount points and copies that only this run sees."""

from __future__ import annotations

import contextlib
import os

from cwl_userspace.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLACES = ("/tmp", "/var/tmp", "/dev/shm")


@contextlib.contextmanager
def private_directory(environ: Mapping[str, str], identifier: str) -> Iterator[str]:
    """The path of a directory for a run; whoever needs it makes it, and here it is removed.

    It is where programs may be executed, if there is such a place: proot unpacks a part of
    itself there. Raise StoreError where nothing can be written at all.
    """
    path = os.path.join(_place(environ), f"cwl-userspace-{identifier[:24]}")
    try:
        yield path
    finally:
        if os.path.lexists(path):
            from cwl_userspace.image.confine import remove_tree

            remove_tree(path)


def _place(environ: Mapping[str, str]) -> str:
    wanted = environ.get("TMPDIR", "")
    places = [wanted] if os.path.isabs(wanted) else []
    usable = [p for p in (*places, *_PLACES) if os.access(p, os.W_OK | os.X_OK)]
    for place in usable:
        if not os.statvfs(place).f_flag & os.ST_NOEXEC:
            return place
    if usable:
        return usable[0]
    raise StoreError("no temporary directory can be written", "set TMPDIR to one")

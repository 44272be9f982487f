"""A container whose tree is a directory of the caller's own, outside the store.

What a run writes there stays. The directory is a tree itself, or has one that is named ``rootfs``
or ``ROOT`` with a ``container.json`` beside it, as our containers and those of udocker do.
"""

from __future__ import annotations

import hashlib
import json
import os

from cwl_userspace.containers import Container
from cwl_userspace.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cwl_userspace.store.store import Store

_TREES = ("rootfs", "ROOT")


class Outside(Container):
    """Such a container: its id is made of its path, so that who uses it can be found."""

    __slots__ = ("tree",)
    of_store = False

    def __init__(self, tree: str, record: dict[str, Any]) -> None:
        super().__init__(os.path.basename(tree) or "root", record)
        self.tree = tree

    def rootfs(self, store: Store) -> str:
        """The path of its tree."""
        return self.tree


def container_at(place: str) -> Outside:
    """The container in a directory; raise UsageError where there is no tree."""
    place = os.path.realpath(place)
    if not os.path.isdir(place) or place == "/":
        raise UsageError(f"{place!r} is no root file system", "name a directory that has one")
    tree = place
    for name in _TREES:
        below = os.path.join(place, name)
        if os.path.isdir(below) and not os.path.islink(below):
            tree = below
    known = _record(place) if tree != place else {}
    return Outside(
        tree,
        {
            "id": hashlib.sha256(os.fsencode(tree)).hexdigest(),
            "image": str(known.get("image") or ""),
            "image_name": str(known.get("image_name") or ""),
            "created": 0.0,
            "config": known.get("config") or {},
            "hostname": str(known.get("hostname") or ""),
            "mounts": [],
        },
    )


def _record(place: str) -> dict[str, Any]:
    path = os.path.join(place, "container.json")
    try:
        with open(path, "rb") as file:
            known = json.loads(file.read())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise UsageError(f"{path} cannot be read: {reason}", "remove or mend it") from None
    if not isinstance(known, dict) or not isinstance(known.get("config") or {}, dict):
        raise UsageError(f"{path} describes no container", "remove or mend it")
    return known

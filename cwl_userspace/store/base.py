"""Start the tree of an image from that of one which it extends: only what is new is fetched.

Files are shared on disk. By reflink where the file system can: then no write to one tree could ever
be seen in another. Else by hard link, if the store may: a file has one content, mode and time under
all its names. No run writes to a tree of the store, whatever engine runs it: the kernel mounts it
read-only, or Landlock and the mode guard keep it, or else the container gets a copy, as does
everything that is changed on purpose (containers, builds). Applying layers replaces files and never
writes to them. So a shared file is as safe as it was before, but no safer: who changes a stored
tree with other programs changes all that share with it, which is why it can be turned off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import NamedTuple

from cwl_userspace.digest import Digest
from cwl_userspace.image.confine import remove_tree
from cwl_userspace.store.copy import copy_tree, has_reflinks
from cwl_userspace.store.modes import is_of_a_group
from cwl_userspace.store.store import Store

_COUNTED = ("files", "bytes", "dropped_devices", "dropped_setuid")


class Base(NamedTuple):
    """How many layers a new tree begins with, what is known of them, and where that stands."""

    layers: int
    facts: dict[str, int]
    directory: str


NONE = Base(0, dict.fromkeys(_COUNTED, 0), "")


def begin(store: Store, chains: Sequence[Digest], rootfs: str) -> Base:
    """Make the directory ``rootfs`` with as many layers of an image as the store has in one tree.

    ``chains`` are the ChainIDs of its lowest layer, its two lowest, and so on. Where the store has
    no such tree, or it cannot be copied whole, ``rootfs`` is left empty. A tree of a group has
    other modes than the image says, so only a store of a group begins with it.
    """
    for_group = is_of_a_group(store.path)
    for layers in range(len(chains), 0, -1):
        chain = chains[layers - 1]
        if store.has_tree(chain):
            tree = store.tree(chain)
            if store.is_beneath(tree) and is_of_a_group(_store_of(tree)) != for_group:
                break
            facts = _copied(tree, rootfs, store.share_files)
            if facts is not None:
                return Base(layers, facts, os.path.dirname(tree))
            break
    os.mkdir(rootfs, 0o755)
    return NONE


def _store_of(tree: str) -> str:
    return tree.rsplit("/", 3)[0]  # STORE/trees/CHAIN/rootfs


def _copied(tree: str, rootfs: str, share: bool) -> dict[str, int] | None:
    """Copy a tree, and say what is known of it; None if that could not be done, or not whole."""
    try:
        with open(os.path.join(os.path.dirname(tree), "tree.json"), "rb") as file:
            stated = json.loads(file.read())
        facts = {name: int(stated.get(name, 0)) for name in _COUNTED}
        link = share and not has_reflinks(os.path.dirname(rootfs))
        fd = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            unread = copy_tree(tree, rootfs, link)
            # Who removes a tree renames it first: if it is in its place, all of it was there.
            if not unread and os.path.samestat(os.lstat(tree), os.fstat(fd)):
                return facts
        finally:
            os.close(fd)
    except (OSError, ValueError, TypeError, AttributeError):
        pass  # what is wrong with the store itself shows again when all layers are applied
    remove_tree(rootfs)
    return None

"""Start the tree of an image from one in the store: only the layers that are new are fetched.

That may be the tree of an image which it extends, or of any that begins with the same layers: what
else there is in it is left out, and what it has replaced is taken from beside it (image/lower.py).

Files are shared on disk. By reflink where the file system can: then no write to one tree could ever
be seen in another. Else by hard link, if the store may: a file has one content, mode and time under
all its names. No run writes to a tree of the store, whatever engine runs it: the kernel mounts it
read-only, or Landlock and the mode guard keep it, or else the container gets a copy, as does
everything that is changed on purpose (containers, builds). Applying layers replaces files and never
writes to them. So a shared file is as safe as it was before, but no safer: who changes a stored
tree with other programs changes all that share with it, which is why it can be turned off.
"""

from __future__ import annotations

import contextlib
import json
import operator
import os
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from cwl_userspace.digest import Digest
from cwl_userspace.errors import StoreError, UserspaceError
from cwl_userspace.image.confine import remove_tree
from cwl_userspace.oci import chain_id
from cwl_userspace.store.copy import copy_tree, has_reflinks
from cwl_userspace.store.modes import is_of_a_group
from cwl_userspace.store.store import CONTENTS, REPLACED, Store

COUNTED = ("files", "bytes", "dropped_devices", "dropped_setuid")
# How many trees with the same lowest layers are tried: one may lack what it has replaced.
_TRIED = 3
_NOT_TO_BE_READ = (OSError, ValueError, TypeError, KeyError, AttributeError, StoreError)

Counts = list[int]


class Base(NamedTuple):
    """What a new tree begins with.

    ``layers``: how many of the image's; ``counts``: what was ``COUNTED`` in them all, ``each``: in
    the lowest, the two lowest and so on, None if unknown; ``record``: what they hold, None if
    there is none.
    """

    layers: int
    counts: Counts
    each: list[Counts] | None
    record: bytes | None


NONE = Base(0, [0] * len(COUNTED), [], b"")


class _Found(NamedTuple):
    """A tree that has as many of an image's lowest layers, of all that it has."""

    layers: int
    of: int
    directory: str


def begin(store: Store, diff_ids: Sequence[Digest], private: str) -> Base:
    """Make ``rootfs`` in a private directory, with as many layers of an image as one tree has.

    ``diff_ids`` are those of all its layers, lowest first. Where the store has no tree with any of
    them, or it cannot be copied whole, ``rootfs`` is left empty.
    """
    extended = _extended(store, diff_ids)
    for found in (*_beginning_alike(store, diff_ids, extended.layers), extended):
        base = _copied(found, private, store.share_files) if found.layers else None
        if base is not None:
            return base
    os.mkdir(os.path.join(private, "rootfs"), 0o755)
    return NONE


def _extended(store: Store, diff_ids: Sequence[Digest]) -> _Found:
    """The largest tree that an image extends, here or beneath; of no layers if there is none.

    A tree of a group has other modes than the image says, so only a store of a group begins with
    it.
    """
    for layers in range(len(diff_ids) - 1, 0, -1):
        chain = chain_id(diff_ids[:layers])
        if store.has_tree(chain):
            tree = store.tree(chain)
            top = tree.rsplit("/", 3)[0]  # STORE/trees/CHAIN/rootfs
            if store.is_beneath(tree) and is_of_a_group(top) != is_of_a_group(store.path):
                break
            return _Found(layers, layers, os.path.dirname(tree))
    return _Found(0, 0, "")


def _beginning_alike(store: Store, diff_ids: Sequence[Digest], least: int) -> list[_Found]:
    """Trees of the own store that have more than ``least`` of an image's layers, the best first."""
    wanted = [str(diff_id) for diff_id in diff_ids]
    trees = os.path.join(store.path, "trees")
    found = []
    for name in os.listdir(trees) if wanted else ():
        directory = os.path.join(trees, name)
        with contextlib.suppress(*_NOT_TO_BE_READ):
            theirs = list(_stated(directory)["diff_ids"])
            same = sum(takewhile(bool, map(operator.eq, wanted, theirs)))
            if least < same < len(theirs):
                found.append(_Found(same, len(theirs), directory))
    found.sort(key=lambda one: (-one.layers, one.of))
    return [one for one in found[:_TRIED] if _is_sound(store, one)]


def _is_sound(store: Store, found: _Found) -> bool:
    with contextlib.suppress(UserspaceError):  # what is wrong with it is its own image's trouble
        return store.has_tree(Digest(os.path.basename(found.directory)))
    return False


def _copied(found: _Found, private: str, share: bool) -> Base | None:
    """Copy the layers of a tree, and say what is known of them; None if it could not be done."""
    tree, rootfs = (os.path.join(place, "rootfs") for place in (found.directory, private))
    try:
        fd = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            base = _taken(found, private, share and not has_reflinks(private))
            # Who removes a tree renames it first: if it is in its place, all of it was there.
            if base is not None and os.path.samestat(os.lstat(tree), os.fstat(fd)):
                return base
        finally:
            os.close(fd)
    except _NOT_TO_BE_READ:
        pass  # what is wrong with the store itself shows again when all layers are applied
    remove_tree(rootfs)
    remove_tree(os.path.join(private, REPLACED))
    return None


def _taken(found: _Found, private: str, link: bool) -> Base | None:
    from cwl_userspace.store.lowest import copy_lowest, copy_replaced

    stated = _stated(found.directory)
    each = _each(stated, found)
    record = _recorded(found.directory)
    if found.layers < found.of:
        if each is None or record is None:
            return None
        record = copy_lowest(found.directory, record, found.layers, found.of, private, link)
        return None if record is None else Base(found.layers, each[-1], each, record)
    if copy_tree(os.path.join(found.directory, "rootfs"), os.path.join(private, "rootfs"), link):
        return None
    copy_replaced(found.directory, private, found.layers, link)
    return Base(found.layers, [int(stated.get(name, 0)) for name in COUNTED], each, record)


def _each(stated: dict[str, Any], found: _Found) -> list[Counts] | None:
    """What was counted in the layers of a tree that are wanted."""
    each = [[int(number) for number in counts] for counts in stated.get("layers", ())]
    return each[: found.layers] if len(each) == found.of else None


def _stated(directory: str) -> dict[str, Any]:
    with open(os.path.join(directory, "tree.json"), "rb") as file:
        stated = json.loads(file.read())
    if not isinstance(stated, dict):
        raise ValueError(f"tree.json is {stated!r:.40}")
    return stated


def _recorded(directory: str) -> bytes | None:
    try:
        with open(os.path.join(directory, CONTENTS), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None

"""Where an image's files are for whoever needs them as a tree.

A store may have a tree, a pack of it (store/packs.py), or both. What copies, saves or builds asks
``stored``; a run asks ``Context.tree``, which may take one on a local disk (localtree.py).
"""

from __future__ import annotations

import os

from cwl_userspace import asroot
from cwl_userspace.errors import StoreError
from cwl_userspace.kernel.ownership import is_ours
from cwl_userspace.store import packs, unsynced
from cwl_userspace.store.lease import lease
from cwl_userspace.store.store import Store
from cwl_userspace.store.workspace import workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cwl_userspace.store.records import Record


def stored(store: Store, record: Record, note: Callable[[str], object]) -> str:
    """A tree in the store or beneath; made of a pack now, in the own store, if there is none.

    Raise PackDamaged if the image has to be fetched again, StoreError if the store is full.
    """
    if store.has_tree(record.chain):
        return store.tree(record.chain)
    return _made(store, record, lambda private: packs.unpack(store, record.chain, private, note))


def owned(store: Store, record: Record, cache: str, note: Callable[[str], object]) -> str:
    """A tree whose files have the caller's uid and gid: what an emulated root needs to change them.

    One of a store beneath is copied into the own store; one of a store where all have another
    group, below ``cache``. Raise StoreError where that cannot be.
    """
    tree = stored(store, record, note)
    if not is_ours(tree) and store.is_beneath(tree):
        tree = _made(store.own, record, lambda private: _copy(store, record, private, note))
    if not is_ours(tree):
        from cwl_userspace.localtree import LocalTrees

        tree = LocalTrees(cache, note).tree(store, record)
    if not is_ours(tree):
        raise StoreError(
            f"{tree} belongs to another user or group, and only its owner can be root in it",
            "set local_store, or a store of your own",
        )
    return tree


def _made(store: Store, record: Record, make: Callable[[str], object]) -> str:
    """Publish in the own store a tree that is made in a private directory, once."""
    name = f"trees/{record.chain.hex}"
    store.prepare()
    with lease(store, f"tree-{record.chain.hex}"):
        if not store.has_tree(record.chain):
            with workspace(store) as private:
                try:
                    make(private)
                except OSError as error:
                    raise store.failure(error, "unpack a tree") from None
                unsynced.publish(store, private, name)
        unsynced.sync_later(store, name)
    return store.tree(record.chain)


def _copy(store: Store, record: Record, private: str, note: Callable[[str], object]) -> None:
    """A pack has what the modes of a tree may keep from us, so it goes first."""
    if next(store.packs(record.chain), None) is not None:
        try:
            packs.unpack(store, record.chain, private, note)
            return
        except packs.PackDamaged:
            pass
    copied(store.tree(record.chain), private)


def copied(tree: str, private: str) -> None:
    """Copy a tree, and what is known of it, into a private directory; raise StoreError if not all
    of it can be read.
    """
    unread = asroot.copy_tree(tree, os.path.join(private, "rootfs"))
    if unread:
        raise StoreError(
            f"{unread[0]} cannot be read, for its mode keeps us out",
            "a pack of the tree has all files: see local_store in docs/clusters.rst",
        )
    with (
        open(os.path.join(os.path.dirname(tree), "tree.json"), "rb") as known,
        open(os.path.join(private, "tree.json"), "wb") as copy,
    ):
        copy.write(known.read())
    packs.copy_beside(os.path.dirname(tree), private)

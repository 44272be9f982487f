"""Where an image's files are for whoever needs them as a tree.

A store may have a tree, a pack of it (store/packs.py), or both. What copies, saves or builds asks
``stored``; a run asks ``Context.tree``, which may take one on a local disk (localtree.py).
"""

from __future__ import annotations

import os

from cwl_userspace import asroot
from cwl_userspace.errors import StoreError
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
    return made(store, record, lambda private: packs.unpack(store, record.chain, private, note))


def made(store: Store, record: Record, make: Callable[[str], object]) -> str:
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

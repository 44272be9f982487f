"""Trees whose files are the caller's own, which an emulated root needs to change them."""

from __future__ import annotations

from cwl_userspace.errors import StoreError
from cwl_userspace.kernel.ownership import is_ours
from cwl_userspace.localtree import LocalTrees
from cwl_userspace.store import packs
from cwl_userspace.store.store import Store
from cwl_userspace.trees import copied, made, stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cwl_userspace.store.records import Record


def owned(store: Store, record: Record, cache: str, note: Callable[[str], object]) -> str:
    """A tree whose files have the caller's uid and gid: what an emulated root needs to change them.

    One of a store beneath is copied into the own store; one of a store where all have another
    group, below ``cache``. Raise StoreError where that cannot be.
    """
    tree = stored(store, record, note)
    if not is_ours(tree) and store.is_beneath(tree):
        tree = made(store.own, record, lambda private: _copy(store, record, private, note))
    if not is_ours(tree):
        tree = LocalTrees(cache, note).tree(store, record)
    if not is_ours(tree):
        raise StoreError(
            f"{tree} belongs to another user or group, and only its owner can be root in it",
            "set local_store, or a store of your own",
        )
    return tree


def _copy(store: Store, record: Record, private: str, note: Callable[[str], object]) -> None:
    """A pack has what the modes of a tree may keep from us, so it goes first."""
    if next(store.packs(record.chain), None) is not None:
        try:
            packs.unpack(store, record.chain, private, note)
            return
        except packs.PackDamaged:
            pass
    copied(store.tree(record.chain), private)

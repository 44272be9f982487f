"""Take names, images and trees out of the store."""

from __future__ import annotations

import contextlib
import os

from cwl_userspace.image import confine
from cwl_userspace.store import records
from cwl_userspace.store.inuse import GONE
from cwl_userspace.store.lease import lease
from cwl_userspace.store.owner import Owner, private_name
from cwl_userspace.store.phases import PRUNE, phase
from cwl_userspace.store.records import Record
from cwl_userspace.store.store import Store
from cwl_userspace.store.users import in_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# What is below these, by its chain, goes together: see packs.py.
FORMS = ("trees", "packs")
# How long to wait for another process that removes the same tree.
_PATIENCE = 30.0


def remove_name(store: Store, key: str) -> None:
    """Forget a full name; the image stays. Raise StoreError where the store cannot be written."""
    unlink(store, f"names/{records.file_name(key)}")


def remove_image(store: Store, record: Record, force: bool = False) -> None:
    """Forget an image, and remove its tree unless another image has the same layers.

    A tree that is in use stays for ``prune``, but with ``force``. What stores beneath have is
    neither removed nor counted.
    """
    store = store.own
    forget_image(store, record)
    if record.chain not in {other.chain for other in records.images(store)}:
        remove_tree(store, record.chain.hex, force=force)


def forget_image(store: Store, record: Record) -> None:
    """Remove what is known of an image; its tree stays."""
    unlink(store, f"images/{record.id.hex}.json")
    unlink(store, f"blobs/sha256/{record.id.hex}")
    if record.manifest:
        unlink(store, f"blobs/sha256/{record.manifest.removeprefix('sha256:')}")


def remove_tree(
    store: Store,
    chain: str,
    delete: Callable[[str], None] = confine.remove_tree,
    force: bool = False,
) -> list[Owner]:
    """Remove the tree of a chain, given as 64 digits, by ``delete``; one that is gone is no error.

    Its pack goes with it. Return who uses it: then it is still there, unless ``force`` was given.
    Raise StoreError where the store cannot be written.
    """
    moved = []
    try:
        with phase(PRUNE):
            with lease(store, f"{GONE}-{chain}", _PATIENCE):
                users = in_use(store).get(chain, [])
                if users and not force:
                    return users
                for form in FORMS:
                    aside = os.path.join(store.path, "tmp", private_name())
                    with contextlib.suppress(FileNotFoundError):
                        # No reader sees a half of it.
                        os.rename(os.path.join(store.path, form, chain), aside)
                        moved.append(aside)
            for aside in moved:
                delete(aside)
    except OSError as error:
        raise store.failure(error, "remove a tree") from None
    return users if moved else []


def unlink(store: Store, name: str) -> None:
    """Remove a file of the store; one that is gone is no error."""
    try:
        os.unlink(os.path.join(store.path, name))
    except FileNotFoundError:
        return
    except OSError as error:
        raise store.failure(error, f"remove {name}") from None

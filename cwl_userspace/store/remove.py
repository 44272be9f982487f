"""Take names, images and trees out of the store."""

from __future__ import annotations

import os

from cwl_userspace.image.confine import remove_tree
from cwl_userspace.store import records
from cwl_userspace.store.records import Record
from cwl_userspace.store.store import Store, private_name


def remove_name(store: Store, key: str) -> None:
    """Forget a full name; the image stays. Raise StoreError where the store cannot be written."""
    _unlink(store, f"names/{records.file_name(key)}")


def remove_image(store: Store, record: Record) -> None:
    """Forget an image, and remove its tree unless another image has the same layers.

    What stores beneath have is neither removed nor counted.
    """
    store = store.own
    _unlink(store, f"images/{record.id.hex}.json")
    _unlink(store, f"blobs/sha256/{record.id.hex}")
    if record.manifest:
        _unlink(store, f"blobs/sha256/{record.manifest.removeprefix('sha256:')}")
    others = (records.by_id(store, i).chain for i in records.identifiers(store))
    if record.chain not in others:
        for form in ("trees", "packs"):
            _remove_directory(store, os.path.join(store.path, form, record.chain.hex))


def _remove_directory(store: Store, published: str) -> None:
    """Rename a tree or a pack aside first, so that no reader sees a half of it."""
    aside = os.path.join(store.path, "tmp", private_name())
    try:
        os.rename(published, aside)
        remove_tree(aside)
    except FileNotFoundError:
        return
    except OSError as error:
        raise store.failure(error, "remove a tree") from None


def _unlink(store: Store, name: str) -> None:
    try:
        os.unlink(os.path.join(store.path, name))
    except FileNotFoundError:
        return
    except OSError as error:
        raise store.failure(error, f"remove {name}") from None

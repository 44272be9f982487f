"""Names that are protected: ``rmi`` and ``prune`` leave them alone, whoever asks.

Their entry in ``names/`` has ``"protected": true``. A name that is fetched again stays protected.
"""

from __future__ import annotations

import json
import os
from typing import Any

from cwl_userspace.errors import ImageNotFound
from cwl_userspace.store import records
from cwl_userspace.store.store import Store


def protect(store: Store, key: str, on: bool) -> bool:
    """Protect a full name, or no longer; False if it was so before.

    Raise ImageNotFound where there is no such name, StoreError where nothing can be written.
    """
    entry = _entry(store, key)
    if entry is None:
        raise ImageNotFound(f"no image {key} in the store", "see cwl-userspace images")
    if bool(entry.get("protected")) == on:
        return False
    entry.pop("protected", None)
    if on:
        entry["protected"] = True
    store.write_file(f"names/{records.file_name(key)}", json.dumps(entry))
    return True


def is_protected(store: Store, key: str) -> bool:
    """True if a full name is protected."""
    entry = _entry(store, key)
    return entry is not None and bool(entry.get("protected"))


def _entry(store: Store, key: str) -> dict[str, Any] | None:
    """What the store says of a name; None if that is nothing."""
    try:
        with open(os.path.join(store.path, "names", records.file_name(key)), "rb") as file:
            entry = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return entry if isinstance(entry, dict) else None

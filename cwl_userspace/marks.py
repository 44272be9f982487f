"""What is noted of a container after it was created, in ``marks.json`` beside its record.

``protected``: nobody removes it. ``execmode`` and ``nvidia``: how udocker's words want it run.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cwl_userspace.store.store import Store

_FILE = "marks.json"


def read(store: Store, place: str) -> dict[str, Any]:
    """What is noted of the container at a place below the store; nothing counts as nothing."""
    try:
        with open(os.path.join(store.path, place, _FILE), "rb") as file:
            found = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(store: Store, place: str, **changes: Any) -> None:
    """Note something of a container; what is false or empty is noted no more."""
    marks = {**read(store, place), **changes}
    kept = {name: value for name, value in marks.items() if value}
    store.write_file(f"{place}/{_FILE}", json.dumps(kept))

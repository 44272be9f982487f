"""What of an image is not in its tree: device nodes and set-user-ID bits; said once, and shown."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cwl_userspace.cli.context import Context
    from cwl_userspace.store.records import Record
    from cwl_userspace.store.store import Store


def dropped(store: Store, record: Record) -> tuple[int, int]:
    """How many devices and pipes were left out of an image's tree, and set-user-ID bits."""
    path = os.path.join(os.path.dirname(store.tree(record.chain)), "tree.json")
    try:
        with open(path, "rb") as file:
            facts = json.loads(file.read())
        return int(facts.get("dropped_devices", 0)), int(facts.get("dropped_setuid", 0))
    except (OSError, ValueError, TypeError, AttributeError):
        return 0, 0  # where it is damaged, that is for others to say


def tell(context: Context, name: str, record: Record) -> None:
    """Say in the log what an image that has just come lacks, if it lacks anything."""
    devices, bits = dropped(context.store, record)
    lacks = [f"{devices} device nodes and pipes"] if devices else []
    lacks += [f"the set-user-ID and set-group-ID bits of {bits} files and directories"] * (bits > 0)
    if lacks:
        context.log.say(f"{name}: left out {', and '.join(lacks)}")

"""Who uses an image now: what is taken away or replaced must not be."""

from __future__ import annotations

from cwl_userspace import runs
from cwl_userspace.cli.context import Context
from cwl_userspace.store.records import Record
from cwl_userspace.store.users import in_use


def users(context: Context, record: Record) -> list[str]:
    """The containers that run from an image or its tree, as people are told of them."""
    running = [r for r in runs.running(context.settings.state) if r.get("image") == str(record.id)]
    if running:
        return [f"the container {r['id'][:12]}" for r in running]
    return [owner.shown() for owner in in_use(context.store).get(record.chain.hex, [])]

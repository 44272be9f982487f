"""Who uses an image now: what is taken away or replaced must not be."""

from __future__ import annotations

from cwl_userspace import runs
from cwl_userspace.cli.context import Context
from cwl_userspace.store.records import Record


def users(context: Context, record: Record) -> list[str]:
    """The containers that run from an image, as people are told of them."""
    running = runs.running(context.settings.state, elsewhere=True)
    return [f"the container {r['id'][:12]}" for r in running if r.get("image") == str(record.id)]


def last_use(context: Context, record: Record) -> float:
    """When a container last ran from an image, in seconds since 1970; 0 if that is not known."""
    return 0.0

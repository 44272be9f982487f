"""What reads whole trees is done as a root to whom no mode of our own files means anything."""

from __future__ import annotations

from collections.abc import Callable

from cwl_userspace import asroot
from cwl_userspace.cli import guarded


def with_rights(work: Callable[[], int | None]) -> int:
    """The exit code of ``work``, 0 where it has none.

    It may be done in a child, so its errors are said there, and it changes nothing of this process.
    """
    return asroot.exit_code(lambda: guarded(lambda: work() or 0))

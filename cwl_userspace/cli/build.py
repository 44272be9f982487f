"""``build``: refused in one sentence until images can be built."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.errors import UserspaceError


def command(context: Context, argv: Sequence[str]) -> int:
    """Say that a Dockerfile cannot be built yet."""
    raise UserspaceError(
        "building from a Dockerfile is not possible yet",
        "build it elsewhere and give the image with dockerPull or dockerLoad",
    )

"""``instance``: containers that go on after the command that started them."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.words import Words
from cwl_userspace.errors import UsageError


def command(context: Context, argv: Sequence[str]) -> int:
    """``instance start|stop|list``."""
    raise UsageError("instances are not known here yet", "use exec or run")


def join(context: Context, verb: str, words: Words) -> int:
    """Run a program in an instance."""
    raise UsageError("instances are not known here yet", "use exec or run with an image")

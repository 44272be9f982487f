"""``docker wait``, ``stop`` and ``rm``: our own verbs, which find what create made by its id alone.

A workflow engine cannot know what a user has made by hand, whatever it is called.
"""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.cli import load
from cwl_userspace.cli.context import Context


def wait(context: Context, argv: Sequence[str]) -> int:
    """Wait for the end of each container and print its exit code."""
    return load("wait")(context, argv)


def stop(context: Context, argv: Sequence[str]) -> int:
    """Ask each container to end, force it after a while, and print what was named."""
    return load("stop")(context, argv)


def rm(context: Context, argv: Sequence[str]) -> int:
    """Forget containers that have ended; remove those that ``create`` made, named by their ids."""
    return load("rm")(context, argv)

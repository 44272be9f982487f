"""``docker create``: our own, which keeps the rest of run's options for ``start``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from cwl_userspace.cli import create as ours
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.words import Words, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.shims.docker_run import ALL, settle

# What the container's record has of the words, so that start does not give it again; and what is
# create's alone.
_RECORDED = frozenset(
    ("volume", "mount", "env", "env-file", "proxy-env", "workdir", "user", "entrypoint", "hostname")
)
_MINE = frozenset(("platform", "name", "cidfile"))


def create(context: Context, argv: Sequence[str]) -> int:
    """Make a container and print its id; raise UsageError for what run would refuse."""
    words = parse("create", ALL, argv, options_end_at_argument=True)
    if words.flag("help") or not words.arguments:
        return ours.command(context, ["--help"] if words.flag("help") else [])
    settle(context, words)
    cidfile = words.value("cidfile")
    if cidfile and os.path.lexists(cidfile):
        raise UsageError(f"--cidfile {cidfile!r} exists", "remove it, or name another file")
    facts = {"words": _later(words), "caller": context.environ["CWL_USERSPACE_CALLER"]}
    identifier = ours.make(context, words, facts)
    if cidfile:
        with open(cidfile, "x", encoding="ascii") as file:
            file.write(identifier)
    print(identifier)
    return 0


def _later(words: Words) -> dict[str, Any]:
    """What start is to run it with; start names the container."""
    later = Words()
    later.flags = {name: value for name, value in words.flags.items() if name not in _RECORDED}
    later.lists = {name: value for name, value in words.lists.items() if name not in _RECORDED}
    left = _RECORDED | _MINE
    later.values = {name: value for name, value in words.values.items() if name not in left}
    later.arguments = [""]
    return later.to_json()

"""``rm``: remove containers that ``create`` made, with all that was written in them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from cwl_userspace import containers, runs
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.containers import Container
from cwl_userspace.errors import ContainerNotFound, UsageError, UserspaceError
from cwl_userspace.kernel import signals

OPTIONS = (
    Option("-f --force", FLAG, "end what runs in it first; none of that name is no error"),
    Option("-v --volumes", FLAG, "accepted: there are none"),
    Option("--help", FLAG, "show this text"),
)
_PATIENCE = 10.0
_PAUSE = 0.02


def command(context: Context, argv: Sequence[str]) -> int:
    """Remove each container, and print what was named."""
    words = parse("rm", OPTIONS, argv)
    if words.flag("help"):
        return show("rm", "[-f] CONTAINER...", OPTIONS)
    if not words.arguments:
        raise UsageError("rm needs a container", "see cwl-userspace ps -a")
    context.store.check()
    for text in words.arguments:
        try:
            container = containers.find(context.store, text)
        except ContainerNotFound:
            if words.flag("force"):
                continue
            raise
        _remove(context, container, words.flag("force"))
        print(text)
    return 0


def _remove(context: Context, container: Container, force: bool) -> None:
    """Nothing runs in it, then nobody can find it, then nothing has begun to run meanwhile.

    A run says that it is there before it looks whether the container is, so one of the two sees
    the other.
    """
    state = context.settings.state
    _end(state, container, force)
    aside = containers.take_away(context.store, container)
    try:
        _end(state, container, force)
    except UserspaceError:
        containers.put_back(context.store, container, aside)
        raise
    containers.delete(context.store, aside)


def _end(state: str, container: Container, force: bool) -> None:
    """Raise UserspaceError if anything runs in it; with ``force`` end that instead."""
    deadline = time.monotonic() + _PATIENCE
    while users := [r for r in runs.using(state, container.id) if not (force and _is_away(r))]:
        if not force or time.monotonic() > deadline:
            processes = ", ".join(_place(record) for record in users)
            error = UserspaceError(
                f"the container {container.name!r} is in use by process {processes}",
                "wait for its end, or end it with rm -f",
            )
            error.exit_code = 1
            raise error
        for record in users:
            try:
                os.kill(record["pid"], signals.KILL_NOW)
            except ProcessLookupError:
                pass
        time.sleep(_PAUSE)


def _is_away(record: dict[str, Any]) -> bool:
    """True for a run on another host, which cannot be ended from here."""
    return bool(record["host"] != os.uname().nodename)


def _place(record: dict[str, Any]) -> str:
    return f"{record['pid']} on {record['host']}" if _is_away(record) else str(record["pid"])

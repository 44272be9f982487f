"""``rm``: remove containers that ``create`` made, with all in them, and forget those that ended."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from cwl_userspace import containers, ended, runs
from cwl_userspace.cli import ending, subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.subjects import Subject
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.containers import Container
from cwl_userspace.errors import ContainerNotFound, UsageError, UserspaceError
from cwl_userspace.kernel import signals
from cwl_userspace.store.users import in_use

OPTIONS = (
    Option("-f --force", FLAG, "end what runs in it first; none of that name is no error"),
    Option("-v --volumes", FLAG, "accepted: there are none"),
    Option("--help", FLAG, "show this text"),
)
_PATIENCE = 10.0
_ENDING = 1.0
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
            subject = subjects.find(context, text)
        except ContainerNotFound:
            if words.flag("force"):
                continue
            raise
        if subject.made is not None:
            _remove(context, subject.made, words.flag("force"))
        else:
            _end_run(subject, words.flag("force"))
        ended.forget(context.settings.state, subject.id)
        print(text)
    return 0


def _end_run(subject: Subject, force: bool) -> None:
    """Nothing runs in it; raise UserspaceError where that is not so, and not to be so."""
    for record in subject.running:
        if not force:
            raise subjects.failure(
                f"the container {subject.shown!r} runs", "stop it first, or use rm -f"
            )
        if subjects.is_away(record) or not ending.kill(record):
            raise subjects.failure(
                f"the container {subject.shown!r} runs: process {record['pid']} on"
                f" {record['host']}",
                "end it there",
            )


def _remove(context: Context, container: Container, force: bool) -> None:
    """Nothing runs in it, then nobody can find it, then nothing has begun to run meanwhile.

    A run says that it is there before it looks whether the container is, so one of the two sees
    the other.
    """
    _end(context, container, force)
    aside = containers.take_away(context.store, container)
    try:
        _end(context, container, force)
    except UserspaceError:
        containers.put_back(context.store, container, aside)
        raise
    containers.delete(context.store, aside)


def _end(context: Context, container: Container, force: bool) -> None:
    """Raise UserspaceError if anything runs in it; with ``force`` end that instead.

    Runs of others, or of other nodes, are seen by what they say in the store (store/inuse.py).
    """
    state = context.settings.state
    start = time.monotonic()
    while True:
        users = [r for r in runs.using(state, container.id) if not (force and subjects.is_away(r))]
        owners = in_use(context.store).get(container.id, [])
        owners = [owner for owner in owners if not force or owner.is_near()]
        if not users and not owners:
            return
        # One that has just ended says so a moment after its record is gone.
        patience = _PATIENCE if force else 0.0 if users else _ENDING
        if time.monotonic() >= start + patience:
            places = [_place(record) for record in users] or [owner.shown() for owner in owners]
            error = UserspaceError(
                f"the container {container.name!r} is in use by {', '.join(places)}",
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


def _place(record: dict[str, Any]) -> str:
    number = f"process {record['pid']}"
    return f"{number} on {record['host']}" if subjects.is_away(record) else number

"""Containers as people speak of them: what create made, what runs, and what has ended.

One name means one of them, so that every verb finds the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cwl_userspace import aliases, containers, ended, runs
from cwl_userspace.cli.context import Context
from cwl_userspace.containers import Container
from cwl_userspace.errors import ContainerNotFound, UsageError, UserspaceError
from cwl_userspace.image.exclusive import lock

CREATED, RUNNING, EXITED = "created", "running", "exited"
_SHORTEST_ID = 4


class Subject:
    """A container: ``made`` if create made it, ``running`` as long as anything runs in it, and
    ``ended`` if it is known how it ended.
    """

    __slots__ = ("ended", "id", "made", "name", "running")

    def __init__(
        self,
        identifier: str,
        name: str,
        made: Container | None = None,
        ended: dict[str, Any] | None = None,
    ) -> None:
        self.id = identifier
        self.name = name
        self.made = made
        self.running: list[dict[str, Any]] = []
        self.ended = ended

    @property
    def state(self) -> str:
        """One of CREATED, RUNNING and EXITED."""
        return RUNNING if self.running else EXITED if self.ended is not None else CREATED

    @property
    def shown(self) -> str:
        """The name, or the id's beginning where there is none."""
        return self.name or self.id[:12]

    def run(self) -> dict[str, Any]:
        """What runs in it, the newest; raise UserspaceError if nothing does."""
        if not self.running:
            raise failure(f"the container {self.shown!r} is not running", f"it is {self.state}")
        return self.running[-1]

    def words(self) -> dict[str, Any] | None:
        """The words that it was last run with, if they are known."""
        last: dict[str, Any] = self.running[-1] if self.running else self.ended or {}
        made = self.made.words if self.made is not None else None
        return last.get("words") or made


def every(context: Context) -> list[Subject]:
    """All containers of this user: those of create, then what runs or has ended, oldest first."""
    state = context.settings.state
    live = sorted(runs.running(state, elsewhere=True), key=lambda record: float(record["time"]))
    over = {record["id"]: record for record in ended.every(state)}
    found = {
        made.id: Subject(made.id, made.name, made, over.get(made.id))
        for made in containers.every(context.store)
    }
    for record in live:
        identifier = record.get("container") or record["id"]
        if identifier not in found:
            found[identifier] = Subject(identifier, record.get("name") or "")
        found[identifier].running.append(record)
    for identifier, record in sorted(over.items(), key=lambda pair: float(pair[1]["ended"])):
        # One that create made and somebody has removed since is gone.
        if identifier not in found and not record.get("container"):
            found[identifier] = Subject(identifier, record.get("name") or "", None, record)
    return list(found.values())


def find(context: Context, text: str) -> Subject:
    """The container of a name, or of an id or its beginning; raise ContainerNotFound if none.

    What runs wins over what has ended, and of those the last. A workflow engine finds what create
    made by its id alone: it cannot know what a user has made by hand. What it had made itself it
    finds by its name as well.
    """
    known = every(context)
    if not context.called_by_engine:
        text = aliases.target(context.store, text) or text
    called = [s for s in known if _is_called(s, text) and _may_be_called(context, s)]
    for subject in called:
        if subject.made is not None or subject.running:
            return subject
    if called:
        return called[-1]
    begin = [s for s in known if len(text) >= _SHORTEST_ID and _begins(s, text)]
    if len(begin) > 1:
        raise UsageError(
            f"{text} is the beginning of {len(begin)} containers' ids", "give more of it"
        )
    if not begin:
        raise ContainerNotFound(f"no container {text!r}", "see cwl-userspace ps -a")
    return begin[0]


def _may_be_called(context: Context, subject: Subject) -> bool:
    by_hand = subject.made is not None and not subject.made.caller
    return not (by_hand and context.called_by_engine)


def _is_called(subject: Subject, text: str) -> bool:
    return bool(text) and (
        subject.name == text or any(record.get("name") == text for record in subject.running)
    )


def _begins(subject: Subject, text: str) -> bool:
    """True for the beginning of an id; a run in what create made has one of its own."""
    return subject.id.startswith(text) or any(
        record["id"].startswith(text) for record in subject.running
    )


@contextmanager
def claimed(context: Context, name: str, but: str) -> Iterator[None]:
    """Meanwhile nobody else of this user takes a name; raise UsageError if it is taken.

    ``but`` is the id of who may have it already.
    """
    with _locked(context):
        check_free(context, name, but)
        yield


def check_free(context: Context, name: str, but: str = "") -> None:
    """Raise UsageError for a name that is none, or that another container has."""
    containers.check_name(context.store, name)
    for subject in every(context):
        if _is_called(subject, name) and subject.id != but:
            raise UsageError(
                f"the container name {name!r} is taken",
                f"choose another, or remove that one with cwl-userspace rm {name}",
            )


@contextmanager
def _locked(context: Context) -> Iterator[None]:
    """One at a time, where the file system can lock; a name is no more than a convenience."""
    state = context.settings.state
    os.makedirs(state, mode=0o700, exist_ok=True)
    path = os.path.join(state, "names.lock")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        lock(fd, path, context.log.say)
        yield
    finally:
        os.close(fd)


def is_away(record: dict[str, Any]) -> bool:
    """True for a run on another host, which cannot be reached from here."""
    return bool(record["host"] != os.uname().nodename)


def failure(message: str, hint: str) -> UserspaceError:
    """An error with the exit code 1, as Docker has it for what cannot be done with a container."""
    error = UserspaceError(message, hint)
    error.exit_code = 1
    return error

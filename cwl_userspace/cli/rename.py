"""``rename``: another name for a container."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace import containers, ended, runs
from cwl_userspace.cli import subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.subjects import Subject
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.engines.joining import BY_NAMESPACES
from cwl_userspace.errors import UsageError

OPTIONS = (Option("--help", FLAG, "show this text"),)


def command(context: Context, argv: Sequence[str]) -> int:
    """Give a container another name; raise UsageError for one that is taken."""
    words = parse("rename", OPTIONS, argv)
    if words.flag("help"):
        return show("rename", "CONTAINER NAME", OPTIONS)
    if len(words.arguments) != 2:
        raise UsageError("rename needs a container and a name", "see cwl-userspace ps -a")
    text, name = words.arguments
    subject, state = subjects.find(context, text), context.settings.state
    with subjects.claimed(context, name, but=""):
        if subject.made is not None:
            _check_movable(subject)
            containers.rename(context.store, subject.made, name)
        for record in subject.running:
            runs.change(state, record["id"], name=name)
        if subject.ended is not None:
            known = subject.ended
            ended.keep(state, subject.id, name, known["code"], known, float(known["ended"]))
    return 0


def _check_movable(subject: Subject) -> None:
    """Raise UserspaceError while what runs in it knows its tree by a path, with its name in it.

    Where there are name spaces, the path counts only until the program has been started.
    """
    for record in subject.running:
        engine = record["engine"]
        if subjects.is_away(record):
            raise subjects.failure(f"{subject.shown!r} runs on {record['host']}", "stop it there")
        if engine not in BY_NAMESPACES:
            raise subjects.failure(
                f"{subject.shown!r} runs with {engine}, which knows its files by its name",
                "stop it first",
            )
        if "keeper" not in record:
            raise subjects.failure(f"{subject.shown!r} has not started yet", "wait a moment")

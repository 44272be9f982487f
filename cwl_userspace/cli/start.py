"""``start`` and ``restart``: a container goes on as it was last run, or as create made it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cwl_userspace.cli import ending, subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.request import seconds
from cwl_userspace.cli.run import execute
from cwl_userspace.cli.subjects import Subject
from cwl_userspace.cli.words import FLAG, VALUE, Option, Words, parse
from cwl_userspace.errors import ContainerNotFound, UsageError

OPTIONS = (
    Option("-a --attach", FLAG, "wait for its end, with its output here"),
    Option("-i --interactive", FLAG, "the same, and pass standard input on"),
    Option("--help", FLAG, "show this text"),
)
RESTART = (
    Option("-t --time --timeout", VALUE, "seconds until it is forced to end; 10", "SECONDS"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Start each container that does not run, and print what was named."""
    words = parse("start", OPTIONS, argv)
    if words.flag("help"):
        return show("start", "[OPTIONS] CONTAINER...", OPTIONS)
    names = ending.named(words, "start")
    if words.flag("attach") or words.flag("interactive"):
        if len(names) > 1:
            raise UsageError("only one container can be attached to", "name one")
        if not words.flag("interactive") and not os.isatty(0):  # whose ^C is for the program
            os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
        return _start(context, subjects.find(context, names[0]), attached=True)
    for text in names:
        subject = subjects.find(context, text)
        if not subject.running:
            _start(context, subject, attached=False)
        print(text, flush=True)
    return 0


def restart(context: Context, argv: Sequence[str]) -> int:
    """Stop each container and start it again, and print what was named."""
    words = parse("restart", RESTART, argv)
    if words.flag("help"):
        return show("restart", "[OPTIONS] CONTAINER...", RESTART)
    given = words.value("timeout")
    patience = seconds(given, words.typed("timeout")) if given else None
    for text in ending.named(words, "restart"):
        subject = subjects.find(context, text)
        _words(subject)
        ending.stop(subject, 0, patience)
        _start(context, _stopped(context, subject), attached=False)
        print(text, flush=True)
    return 0


def _stopped(context: Context, subject: Subject) -> Subject:
    """What a container is once it was stopped: one that was to be forgotten then goes on, too."""
    try:
        return subjects.find(context, subject.id)
    except ContainerNotFound:
        if not subject.running:
            raise
        return Subject(subject.id, subject.name, ended=subject.running[-1])


def _start(context: Context, subject: Subject, attached: bool) -> int:
    """Run it as it was run; what create made needs no more than its name."""
    if subject.running:
        raise subjects.failure(f"the container {subject.shown!r} runs", "see cwl-userspace logs -f")
    words = _words(subject)
    words.flags["detach"] = not attached
    words.flags["keep"] = True  # how it ends is known as if it were detached
    words.values.pop("cidfile", None)
    if subject.made is not None:
        words.arguments[:1] = [subject.id]
        words.flags["made"] = True
    last = subject.ended or {}
    try:
        os.chdir(last.get("cwd") or ".")
    except OSError:
        pass  # only relative paths in its words would need it
    return execute(context, words, subject.id, quiet=not attached)


def _words(subject: Subject) -> Words:
    """The words to run it with; raise UserspaceError if nobody knows them."""
    known = subject.words()
    if known is not None:
        return Words.from_json(known)
    if subject.made is None:
        raise subjects.failure(
            f"nobody knows how {subject.shown!r} was started", "start it with run -d"
        )
    words = Words()
    words.arguments = [subject.id]
    return words

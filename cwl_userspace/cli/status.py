"""``status`` and ``port``: what a container does, and where its ports are to be reached."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.cli import ending, subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.ps import status
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.errors import UsageError

OPTIONS = (Option("--help", FLAG, "show this text"),)


def command(context: Context, argv: Sequence[str]) -> int:
    """Print for each container, or for all, its name and what it does."""
    words = parse("status", OPTIONS, argv)
    if words.flag("help"):
        return show("status", "[CONTAINER...]", OPTIONS)
    context.store.check()
    named = [subjects.find(context, text) for text in words.arguments]
    for subject in named or subjects.every(context):
        print(f"{subject.shown}: {subject.state}, {status(subject)}")
    return 0


def port(context: Context, argv: Sequence[str]) -> int:
    """Print the ports of a container that ``--publish`` has named."""
    words = parse("port", OPTIONS, argv)
    if words.flag("help"):
        return show("port", "CONTAINER [PORT[/tcp]]", OPTIONS)
    text, *wanted = ending.named(words, "port")
    if len(wanted) > 1:
        raise UsageError(
            "port needs one container, and one port at most", "for example port web 80"
        )
    ports = [
        port.partition("->")
        for record in subjects.find(context, text).running
        for port in record.get("ports", ())
    ]
    if not wanted:
        print("".join(f"{inside} -> {outside}\n" for outside, _, inside in ports), end="")
        return 0
    inside = wanted[0] if "/" in wanted[0] else f"{wanted[0]}/tcp"
    found = [outside for outside, _, known in ports if known == inside]
    if not found:
        raise subjects.failure(
            f"{text!r} has not published {inside}", "the network is the host's: try that port"
        )
    print("\n".join(found))
    return 0

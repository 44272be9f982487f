"""``wait``: until containers end, and with which exit codes."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace import ended
from cwl_userspace.cli import ending, subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, Option, parse

OPTIONS = (Option("--help", FLAG, "show this text"),)


def command(context: Context, argv: Sequence[str]) -> int:
    """Wait for the end of each container, and print its exit code."""
    words = parse("wait", OPTIONS, argv)
    if words.flag("help"):
        return show("wait", "CONTAINER...", OPTIONS)
    for text in ending.named(words, "wait"):
        subject = subjects.find(context, text)
        for record in subject.running:
            if subjects.is_away(record):
                raise subjects.failure(f"{text!r} runs on {record['host']}", "wait for it there")
            ending.wait_for(record)
        list(subjects.every(context))  # of one that was killed nobody has said how it ended
        known = ended.find(context.settings.state, subject.id)
        if known is None:
            raise subjects.failure(
                f"nobody knows how {text!r} ended", "it was to be forgotten, or has not run yet"
            )
        print(known["code"], flush=True)
    return 0

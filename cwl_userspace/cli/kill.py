"""``kill``: end a running container, from another process."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cwl_userspace.cli import ending, subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import UsageError

OPTIONS = (
    Option("-s --signal", VALUE, "the signal; KILL if not given", "SIGNAL"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Send a signal to each container, and print what was named."""
    words = parse("kill", OPTIONS, argv)
    if words.flag("help"):
        return show("kill", "[-s SIGNAL] CONTAINER...", OPTIONS)
    if not words.arguments:
        raise UsageError("kill needs a container", "give its name, or its id from --cidfile")
    number = ending.signal(words.value("signal", "KILL"))
    for text in words.arguments:
        subject = subjects.find(context, text)
        subject.run()
        for record in subject.running:
            if subjects.is_away(record):
                raise subjects.failure(f"{text!r} runs on {record['host']}", "end it there")
            try:
                os.kill(record["pid"], number)
            except ProcessLookupError:
                raise subjects.failure(f"{text!r} is not running", "it has just ended") from None
        print(text)
    return 0

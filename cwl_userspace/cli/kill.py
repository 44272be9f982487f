"""``kill``: end a running container, from another process."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cwl_userspace import runs
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.kernel import signals

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
    try:
        number = signals.number(words.value("signal", "KILL"))
    except KeyError:
        raise UsageError(
            f"no signal {words.value('signal')!r}", "for example TERM, INT or 9"
        ) from None
    if number not in (signals.SIGKILL, *signals.FORWARDED):
        raise UsageError(f"the signal {number} is not passed on", "send KILL, TERM, INT or USR1")
    for text in words.arguments:
        record = runs.find(context.settings.state, text)
        sent = signals.KILL_NOW if number == signals.SIGKILL else number
        os.kill(record["pid"], sent)
        print(text)
    return 0

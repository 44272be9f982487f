"""``stop``: ask containers to end, and force them after a while."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.cli import ending, subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.request import seconds
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse

OPTIONS = (
    Option("-t --time --timeout", VALUE, "seconds until it is forced; 10", "SECONDS"),
    Option("-s --signal", VALUE, "in place of the one that it wants, or TERM", "SIGNAL"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Stop each container, and print what was named; one that has ended is left as it is."""
    words = parse("stop", OPTIONS, argv)
    if words.flag("help"):
        return show("stop", "[OPTIONS] CONTAINER...", OPTIONS)
    given = words.value("timeout")
    patience = seconds(given, words.typed("timeout")) if given else None
    number = ending.signal(words.value("signal")) if words.value("signal") else 0
    for text in ending.named(words, "stop"):
        ending.stop(subjects.find(context, text), number, patience)
        print(text, flush=True)
    return 0

"""``version``: the version, in the words that callers look for."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace import __version__
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse

OPTIONS = (
    Option("-f --format", VALUE, "{{.Client.Version}}", "TEMPLATE"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Print the version; with a template only the number."""
    words = parse("version", OPTIONS, argv)
    if words.flag("help"):
        show("version", "[OPTIONS]", OPTIONS)
    print(__version__ if words.value("format") else f"cwl-userspace version {__version__}")
    return 0

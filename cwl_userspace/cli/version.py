"""``version``: the version, in the words that callers look for."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace import __version__
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.template import render
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse

OPTIONS = (
    Option("-f --format", VALUE, "json, {{.Version}}, {{.Client.Version}}", "TEMPLATE"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Print the version, alone or as a template has it."""
    words = parse("version", OPTIONS, argv)
    if words.flag("help"):
        return show("version", "[--format TEMPLATE]", OPTIONS)
    side = {"Version": __version__}
    form = words.value("format")
    facts = {**side, "Client": side, "Server": side}
    print(render(form, facts) if form else f"cwl-userspace version {__version__}")
    return 0

"""``logout``: forget the login for a registry."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.login import registry_argument
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.image.credentials import Credentials
from cwl_userspace.image.loginfile import forget

OPTIONS = (Option("--help", FLAG, "show this text"),)


def command(context: Context, argv: Sequence[str]) -> int:
    """Remove it from every file that we would find it in, and from the helpers that they name."""
    words = parse("logout", OPTIONS, argv)
    if words.flag("help"):
        return show("logout", "[REGISTRY]", OPTIONS)
    registry = registry_argument("logout", words)
    files = Credentials.from_environment(context.environ).files
    known = [path for path in files if forget(path, registry)]
    print(f"Removing login credentials for {registry}" if known else f"Not logged in to {registry}")
    return 0

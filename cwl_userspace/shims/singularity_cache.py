"""``cache``: the images in the store, which is where what was fetched is kept."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.cli import load
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.words import FLAG, LIST, VALUE, Option, parse
from cwl_userspace.errors import UsageError

OPTIONS = (
    Option("-T --type", LIST, "accepted: there is one kind", "KIND"),
    Option("-D --days", VALUE, "only what was not used for so many days", "N"),
    Option("-f --force", FLAG, "do not ask"),
    Option("-n --dry-run", FLAG, "say what would be removed"),
    Option("-v --verbose", FLAG, "accepted"),
    Option("-a --all", FLAG, "accepted"),
    Option("-h --help", FLAG, ""),
)


def cache(context: Context, argv: Sequence[str]) -> int:
    """``cache list`` shows the images, ``cache clean`` removes those that nobody uses."""
    words = parse("cache", OPTIONS, argv)
    what = words.arguments[0] if words.arguments else ""
    if what == "list":
        return load("images")(context, [])
    if what != "clean":
        raise UsageError(f"cache has no {what!r}", "expected list or clean")
    options = ["--older-than", f"{words.value('days', '0')}d"]
    options += ["--dry-run"] if words.flag("dry-run") else []
    options += ["--force"] if words.flag("force") else []
    return load("prune")(context, options)

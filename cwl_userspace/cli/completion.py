"""``completion``: have a shell complete verbs, options and the names of images and containers."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.cli.complete import bash, fish, zsh
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import every, show
from cwl_userspace.cli.near import container_names, image_names
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.errors import UsageError

OPTIONS = (
    Option("--images", FLAG, "only list the names of images, as the scripts do"),
    Option("--containers", FLAG, "only list the names of containers"),
    Option("--help", FLAG, "show this text"),
)
_SHELLS = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}


def command(context: Context, argv: Sequence[str]) -> int:
    """Print the script for a shell, or names for it to choose from."""
    words = parse("completion", OPTIONS, argv)
    if words.flag("help"):
        show("completion", "bash|zsh|fish", OPTIONS)
    names = image_names(context) if words.flag("images") else []
    names += container_names(context) if words.flag("containers") else []
    if words.flags:
        print("".join(f"{name}\n" for name in names), end="")
        return 0
    if len(words.arguments) != 1 or words.arguments[0] not in _SHELLS:
        raise UsageError(
            f"completion is for one shell, not {' '.join(words.arguments) or 'for none'}",
            f"expected one of {', '.join(_SHELLS)}",
        )
    print(_SHELLS[words.arguments[0]](every(context)), end="")
    return 0

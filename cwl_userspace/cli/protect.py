"""``protect`` and ``unprotect``: whether images can be removed."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.errors import ImageError, ImageNotFound, InvalidReference, UsageError
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records
from cwl_userspace.store.protect import protect

OPTIONS = (Option("--help", FLAG, "show this text; an id stands for all names of its image"),)


def command(context: Context, argv: Sequence[str]) -> int:
    """Protect the names that are given: neither rmi nor prune removes them."""
    return _command(context, argv, "protect", True)


def undo(context: Context, argv: Sequence[str]) -> int:
    """Take that back."""
    return _command(context, argv, "unprotect", False)


def _command(context: Context, argv: Sequence[str], verb: str, on: bool) -> int:
    words = parse(verb, OPTIONS, argv)
    if words.flag("help"):
        return show(verb, "IMAGE...", OPTIONS)
    if not words.arguments:
        raise UsageError(f"{verb} needs an image", "see cwl-userspace images")
    context.store.check()
    for text in words.arguments:
        for key in names_of(context, text):
            protect(context.store, key, on)
            print(ImageReference.parse(key).familiar)
    return 0


def names_of(context: Context, text: str) -> list[str]:
    """The full name that a word is, or all names of the image whose id it is.

    Raise ImageNotFound where there is none, ImageError for an image without a name.
    """
    try:
        record = records.find(context.store, text)
    except ImageNotFound as error:
        error.exit_code = 1
        raise
    names = [name for name, image in records.names(context.store.own) if image == str(record.id)]
    try:
        key = records.key_of(ImageReference.parse(text))
    except InvalidReference:
        key = ""
    if not names:
        raise ImageError(
            f"{text} has no name in the store {context.store.path}", "load or pull it under one"
        )
    return [key] if key in names else names

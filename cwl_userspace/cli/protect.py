"""``protect`` and ``unprotect``: whether images and containers can be removed."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace import containers, marks
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.errors import (
    ContainerNotFound,
    ImageError,
    ImageNotFound,
    InvalidReference,
    UsageError,
)
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records
from cwl_userspace.store.protect import protect

OPTIONS = (Option("--help", FLAG, "show this text; an image's id stands for all its names"),)


def command(context: Context, argv: Sequence[str]) -> int:
    """Protect the names that are given: neither rmi nor prune removes them."""
    return _command(context, argv, "protect", True)


def undo(context: Context, argv: Sequence[str]) -> int:
    """Take that back."""
    return _command(context, argv, "unprotect", False)


def _command(context: Context, argv: Sequence[str], verb: str, on: bool) -> int:
    words = parse(verb, OPTIONS, argv)
    if words.flag("help"):
        return show(verb, "IMAGE|CONTAINER...", OPTIONS)
    if not words.arguments:
        raise UsageError(f"{verb} needs an image", "see cwl-userspace images")
    context.store.check()
    for text in words.arguments:
        if _container(context, text, on):
            print(text)
            continue
        for key in names_of(context, text):
            protect(context.store, key, on)
            print(ImageReference.parse(key).familiar)
    return 0


def _container(context: Context, text: str, on: bool) -> bool:
    """True if it is a container, which is then protected, or no longer."""
    if context.called_by_engine:
        return False
    try:
        container = containers.find(context.store, text)
    except ContainerNotFound:
        return False
    marks.write(context.store, f"{containers.PLACE}/{container.name}", protected=on)
    return True


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

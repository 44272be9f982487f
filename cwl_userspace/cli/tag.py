"""``tag``: another name for an image in the store."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.errors import ImageError, ImageNotFound, UsageError
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records
from cwl_userspace.store.images import name
from cwl_userspace.store.protect import is_protected

OPTIONS = (Option("--help", FLAG, "show this text"),)


def command(context: Context, argv: Sequence[str]) -> int:
    """Give an image, found by a name or its id, one or more further names; print nothing.

    A name that another image has goes over to this one, as in Docker. Exit code 1 if there is no
    such image, or a name is protected and another image's.
    """
    words = parse("tag", OPTIONS, argv)
    if words.flag("help"):
        return show("tag", "IMAGE NAME...", OPTIONS)
    if len(words.arguments) < 2:
        raise UsageError("tag needs an image and a name", "cwl-userspace tag IMAGE NAME")
    source, *wanted = words.arguments
    references = [ImageReference.parse(text) for text in wanted]
    context.store.check()
    try:
        record = records.find(context.store, source)
    except ImageNotFound as error:
        error.exit_code = 1
        raise
    for reference in references:
        _check(context, reference, record)
    context.store.prepare()
    for reference in references:
        name(context.store.own, reference, record, "tag")
    return 0


def _check(context: Context, reference: ImageReference, record: records.Record) -> None:
    """Raise for a name that says which image it must be, and for one that is kept for another."""
    if reference.digest is not None:
        raise UsageError(
            f"{reference.familiar} cannot be given as a name: a digest says what an image is",
            "expected for example NAME:TAG",
        )
    if not is_protected(context.store.own, records.key_of(reference)):
        return
    if records.by_reference(context.store, reference).id != record.id:
        error = ImageError(
            f"{reference.familiar} is protected",
            f"first run cwl-userspace unprotect {reference.familiar}",
        )
        error.exit_code = 1
        raise error

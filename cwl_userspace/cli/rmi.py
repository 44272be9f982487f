"""``rmi``: remove names, and images and trees that nothing names any more."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.inuse import users
from cwl_userspace.cli.table import human_size
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.errors import ImageError, ImageNotFound, InvalidReference, UsageError
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records
from cwl_userspace.store.protect import is_protected
from cwl_userspace.store.remove import remove_image, remove_name
from cwl_userspace.store.sizes import sizes
from cwl_userspace.store.store import Store

OPTIONS = (
    Option("-f --force", FLAG, "remove even what a container is running from"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Remove each name or image; an image goes when its last name does."""
    words = parse("rmi", OPTIONS, argv)
    if words.flag("help"):
        return show("rmi", "[-f] IMAGE...", OPTIONS)
    if not words.arguments:
        raise UsageError("rmi needs an image", "see cwl-userspace images")
    context.store.check()
    for text in words.arguments:
        _remove(context, text, words.flag("force"))
    return 0


def _remove(context: Context, text: str, force: bool) -> None:
    try:
        record = records.find(context.store, text)
    except ImageNotFound as error:
        error.exit_code = 1
        raise
    used = users(context, record)
    if used and not force:
        raise ImageError(f"{text} is in use by {', '.join(used)}", "wait for its end, or kill it")
    own = context.store.own
    names = [name for name, image in records.names(own) if image == str(record.id)]
    here = record.store == own.path
    if not names and not here:
        raise ImageError(
            f"{text} is in {record.store}, a store beneath yours, which is only read",
            "it is removed by whoever keeps that store",
        )
    wanted = [name for name in names if _is(name, text)] or names
    _check_protected(own, wanted)
    for name in wanted:
        remove_name(own, name)
        print(f"Untagged: {ImageReference.parse(name).familiar}")
    if here and set(wanted) == set(names):
        tree = own.tree(record.chain)
        found = sizes(tree)
        remove_image(own, record, force)
        print(f"Deleted: {record.id}")
        freed = 0 if os.path.isdir(tree) else found.all - found.shared
        print(f"Freed: {human_size(freed)}")


def _check_protected(store: Store, names: Sequence[str]) -> None:
    """Raise ImageError if any of these names is protected, whatever options were given."""
    for name in names:
        if is_protected(store, name):
            familiar = ImageReference.parse(name).familiar
            error = ImageError(
                f"{familiar} is protected", f"first run cwl-userspace unprotect {familiar}"
            )
            error.exit_code = 1
            raise error


def _is(name: str, text: str) -> bool:
    try:
        return records.key_of(ImageReference.parse(text)) == name
    except InvalidReference:
        return False

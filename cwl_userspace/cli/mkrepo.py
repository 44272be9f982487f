"""``mkrepo``: an empty store, for ``--repo`` of udocker's words or ``CWL_USERSPACE_HOME``."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.errors import StoreError, UsageError
from cwl_userspace.store.store import Store

OPTIONS = (Option("--help", FLAG, "show this text; CWL_USERSPACE_HOME=DIR uses the store"),)


def command(context: Context, argv: Sequence[str]) -> int:
    """Make the directory and a store in it; one that is there already is an error."""
    words = parse("mkrepo", OPTIONS, argv)
    if words.flag("help"):
        return show("mkrepo", "DIR", OPTIONS)
    if len(words.arguments) != 1:
        raise UsageError("mkrepo needs one directory", "for example: mkrepo /scratch/me/store")
    place = os.path.abspath(words.arguments[0])
    if os.path.lexists(place):
        error = StoreError(f"{place!r} is there already", "name a directory that is to be made")
        error.exit_code = 1
        raise error
    try:
        os.makedirs(place)
    except OSError as failure:
        raise StoreError(
            f"{place!r} cannot be made: {failure.strerror}", "name another directory"
        ) from None
    Store(place).prepare()
    return 0

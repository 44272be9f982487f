"""``plurality``: the words of that wrapper of runC, answered by our verbs.

Its ``create`` has the name after the image; all else means what it means here.
"""

from __future__ import annotations

import os
import sys

from cwl_userspace.cli import finish, guarded, load
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.shims.caller import variables_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

# What it needs sudo for, to unpack an image with devices, needs no rights here.
_GLOBAL = (Option("--debug", FLAG, ""), Option("--nosudo", FLAG, ""), Option("-h --help", FLAG, ""))
_CREATE = (Option("--nopull", FLAG, "take the image from the store alone"),)
_OURS = {"run": ("run",), "list": ("ps", "-a"), "status": ("status",), "stop": ("stop",),
         "delete": ("rm",)}  # fmt: skip


def entry(name: str) -> NoReturn:
    """What an executable of this name does: run its command line and end with its exit code."""
    finish(guarded(lambda: answer(sys.argv[1:], os.environ)))


def answer(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command line of ``plurality``; raise UsageError if it has no meaning."""
    given = parse("plurality", _GLOBAL, words, options_end_at_argument=True)
    verb, *rest = given.arguments or ["help"]
    context = Context(variables_for(environ), "", quiet=False)
    if given.flag("help") or verb == "help":
        print(f"plurality, answered by cwl-userspace, with the verbs {', '.join(_verbs())}")
        return 0
    if verb == "create":
        return _create(context, rest)
    if verb not in _OURS:
        raise UsageError(f"plurality {verb} is not known here", f"known are {', '.join(_verbs())}")
    ours, *first = _OURS[verb]
    return load(ours)(context, [*first, *rest])


def _create(context: Context, argv: Sequence[str]) -> int:
    words = parse("create", _CREATE, argv)
    if len(words.arguments) != 2:
        raise UsageError("create needs an image and a name", "for example: create debian mine")
    image, name = words.arguments
    context.settings.offline = context.settings.offline or words.flag("nopull")
    return load("create")(context, ["--name", name, image])


def _verbs() -> list[str]:
    return sorted({"create", *_OURS})

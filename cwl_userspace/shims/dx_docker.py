"""``dx-docker``: DNAnexus's ``run`` and ``pull`` by our own, with nothing of their platform."""

from __future__ import annotations

import os
import sys

from cwl_userspace.cli import finish, guarded, load
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.words import FLAG, LIST, VALUE, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.shims.caller import variables_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

_HELP = Option("-h --help", FLAG, "show this text")
PULL = (Option("-q --quiet", FLAG, "no progress"), _HELP)
RUN = (
    Option("-v --volume", LIST, "a directory of the host", "HOST:DIR"),
    Option("-e --env", LIST, "set a variable", "NAME=VALUE"),
    Option("--entrypoint", VALUE, "in place of the image's", "PROGRAM"),
    Option("-w --workdir", VALUE, "the working directory", "DIR"),
    Option("-q --quiet", FLAG, "nothing but errors"),
    Option("--rootfs", VALUE, "a directory in place of the image's tree; writes stay", "DIR"),
    Option("--rm", FLAG, "accepted: nothing is kept"),
    Option("--user", VALUE, "accepted, without effect, as there", "USER"),
    _HELP,
)
ELSEWHERE = ("add-to-applet", "create-asset")


def entry(name: str) -> NoReturn:
    """What an executable of this name does: run its command line and end with its exit code."""
    finish(guarded(lambda: answer(sys.argv[1:], os.environ)))


def answer(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command line of ``dx-docker``; raise UsageError if it has no meaning here."""
    verb, *rest = argv or ["--help"]
    if verb in ELSEWHERE:
        raise UsageError(
            f"dx-docker {verb} puts an image into DNAnexus's platform, which is not there",
            "keep one with cwl-userspace save",
        )
    if verb not in ("run", "pull", "-h", "--help"):
        raise UsageError(f"dx-docker {verb} is not known here", "expected run or pull")
    options = RUN if verb == "run" else PULL
    words = parse(f"dx-docker {verb}", options, rest, options_end_at_argument=True)
    if verb not in ("run", "pull") or words.flag("help"):
        return _help(verb, options)
    if not words.arguments:
        raise UsageError(f"dx-docker {verb} needs an image", "for example debian:12")
    context = Context(variables_for(environ, "dx-docker"), "", words.flag("quiet"))
    if verb == "pull":
        return load("pull")(context, words.arguments[:1])
    given = [f"{words.typed('volume')}={text}" for text in words.list("volume")]
    given += ["--env=HOME=/root", *(f"{words.typed('env')}={text}" for text in words.list("env"))]
    given += [
        f"{words.typed(name)}={words.value(name)}"
        for name in ("entrypoint", "workdir", "rootfs")
        if words.value(name)
    ]
    return load("run")(context, [*given, *words.arguments])


def _help(verb: str, options: Sequence[Option]) -> int:
    if verb not in ("run", "pull"):
        print("usage: dx-docker run|pull [options] IMAGE [COMMAND...]")
        return 0
    print(f"usage: dx-docker {verb} [options] IMAGE{' [COMMAND...]' if verb == 'run' else ''}\n")
    for option in options:
        left = ", ".join(option.spellings) + (f" {option.metavar}" if option.metavar else "")
        print(f"  {left:<34} {option.help}")
    return 0

"""``setup``: get a program of others that makes containers possible, or faster, without rights."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.progress import Progress
from cwl_userspace.cli.words import FLAG, VALUE, Option, Words, parse
from cwl_userspace.engines import probe
from cwl_userspace.engines.proot import described
from cwl_userspace.engines.proot_probe import examine
from cwl_userspace.errors import EngineError, UsageError
from cwl_userspace.tools import Source, keep

OPTIONS = (
    Option("--url", VALUE, "where to fetch it: http, https, or the path of a file", "URL"),
    Option("--sha256", VALUE, "what its bytes must be", "HEX"),
    Option("-q --quiet", FLAG, "no progress"),
    Option("--help", FLAG, "show this text"),
)
# The SHA-256 of builds whose bytes were in our hands, by machine.
PINNED: dict[str, str] = {}
# Where builds are published; ``proot_places`` in the settings stands in for these.
PLACES = ("https://proot.gitlab.io/proot/bin/proot",)


def command(context: Context, argv: Sequence[str]) -> int:
    """Fetch proot, try it, and say what was got."""
    words = parse("setup", OPTIONS, argv)
    if words.flag("help"):
        return show("setup", "proot [--url URL --sha256 HEX]", OPTIONS)
    if words.arguments != ["proot"]:
        named = f"not {' '.join(words.arguments)!r}" if words.arguments else "and none is named"
        raise UsageError(f"setup can get proot, {named}", "for example: cwl-userspace setup proot")
    context.log.quiet = context.log.quiet or words.flag("quiet")
    sources = _sources(context, words)
    with Progress("proot", context.log) as progress:
        path = keep(context.store, "proot", sources, progress, context.settings.offline)
    facts = {**examine(path, "fetch another build"), "path": path}
    probe.forget(context.settings.cache, "proot")
    if facts["reason"]:
        os.unlink(path)
        raise EngineError(f"that proot does not work here: {facts['reason']}", "it was not kept")
    print(described(facts))
    if context.settings.proot:
        print(f"the setting proot names {context.settings.proot}, which is used and not this one")
    return 0


def _sources(context: Context, words: Words) -> list[Source]:
    """Where to look, in order; raise UsageError where no hash says what to look for."""
    machine = os.uname().machine
    url, given = words.value("url"), words.value("sha256")
    if url and not given:
        raise UsageError(
            f"--url {url} without --sha256", "say what its bytes must be: see sha256sum(1)"
        )
    if url:
        return [Source(url, given)]
    places = context.settings.proot_places or [(place, "") for place in PLACES]
    known = given or PINNED.get(machine, "")
    sources = [
        Source(place.replace("{machine}", machine), given or own or known)
        for place, own in places
        if given or own or known
    ]
    if not sources:
        raise UsageError(
            f"no build of proot for {machine} is pinned in this release",
            "give --url and --sha256, set proot_places, or unpack your distribution's package"
            " (apt-get download proot)",
        )
    return sources

"""``pull``: fetch an image; the tag is looked up anew even if the store has the name."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.fetch import fetch
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.reference import ImageReference

OPTIONS = (
    Option("--platform", VALUE, "take the image for another platform", "OS/ARCH"),
    Option("-q --quiet", FLAG, "print nothing but the name"),
    # cwl-utils gives it to ``docker pull``, which has no such option itself.
    Option("--force", FLAG, "accepted: the name is always looked up anew"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Fetch each image and print its full name."""
    words = parse("pull", OPTIONS, argv)
    if words.flag("help"):
        return show("pull", "[OPTIONS] IMAGE...", OPTIONS)
    if not words.arguments:
        raise UsageError("pull needs an image", "for example: cwl-userspace pull debian:12")
    context.log.quiet = context.log.quiet or words.flag("quiet")
    for name in words.arguments:
        reference = ImageReference.parse(name)
        fetch(context, reference, words.value("platform"), refresh=True)
        print(reference)
    return 0

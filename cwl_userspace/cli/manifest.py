"""``manifest inspect``: what a registry, or a mirror, says of an image; nothing is fetched."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.fetch import sources
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import ImageError, ImageNotFound, UsageError
from cwl_userspace.image.source import Source, nowhere
from cwl_userspace.oci import Platform, load_json
from cwl_userspace.reference import ImageReference

OPTIONS = (
    Option("--platform", VALUE, "that platform's manifest in place of an index", "OS/ARCH"),
    Option("--raw", FLAG, "the bytes as they are, of which the digest is made"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Print the manifest or the index of an image as JSON."""
    words = parse("manifest", OPTIONS, argv)
    if words.flag("help"):
        return show("manifest", "inspect [OPTIONS] IMAGE", OPTIONS)
    verb, *names = words.arguments or [""]
    if verb != "inspect" or len(names) != 1:
        raise UsageError("manifest knows one word, inspect", "manifest inspect debian:12")
    raw = document(context, ImageReference.parse(names[0]), words.value("platform"))
    if words.flag("raw"):
        print(raw.decode("utf-8", "surrogateescape"), end="")
    else:
        print(json.dumps(load_json(raw, names[0]), indent=4))
    return 0


def document(context: Context, reference: ImageReference, platform: str = "") -> bytes:
    """The manifest for a platform, or what the name stands for; raise ImageError if nowhere."""
    errors: list[ImageError] = []
    for source in sources(context, reference):
        try:
            return _of(source, reference, platform)
        except ImageError as error:
            errors.append(error)
    raise nowhere(reference, errors, "")


def _of(source: Source, reference: ImageReference, platform: str) -> bytes:
    whole = getattr(source, "manifest", None)
    if whole is not None and not platform:
        return bytes(whole(reference))
    wanted = Platform.parse(platform) if platform else Platform.host()
    found = source.image(reference, wanted).manifest
    if not found:
        raise ImageNotFound(f"{source.label} has no manifest of {reference.familiar}", "pull it")
    return found

"""``import``: an image of a root file system in a tar, as ``docker export`` writes it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.progress import Progress
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.errors import ImageError, UsageError
from cwl_userspace.image.tarball import Tarball
from cwl_userspace.oci import Platform
from cwl_userspace.reference import ImageReference
from cwl_userspace.store.images import add

OPTIONS = (
    Option("-q --quiet", FLAG, "no progress"),
    Option("--help", FLAG, "show this text"),
)
_CHUNK = 1 << 20


def command(context: Context, argv: Sequence[str]) -> int:
    """Import one tar under a name, or under none, and print the image's id."""
    words = parse("import", OPTIONS, argv)
    if words.flag("help"):
        return show("import", "FILE|URL|- [NAME]", OPTIONS)
    if not 1 <= len(words.arguments) <= 2:
        raise UsageError("import needs a file and a name", "cwl-userspace import FILE|URL|- NAME")
    place = words.arguments[0]
    names = [ImageReference.parse(name) for name in words.arguments[1:]]
    context.log.quiet = context.log.quiet or words.flag("quiet")
    tarball = Tarball(_chunks(context, place), "standard input" if place == "-" else place)
    image = tarball.only_image(Platform.host())
    with Progress(place, context.log) as progress:
        record = add(context.store, image, tarball, names, progress, whiteouts=False)
    print(record.id)
    return 0


def _chunks(context: Context, place: str) -> Iterator[bytes]:
    if place.startswith(("http://", "https://")):
        from cwl_userspace.image.offline import from_web

        return from_web(place, context.settings.offline)
    try:
        file = os.dup(0) if place == "-" else os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError(
            f"{place} cannot be read: {error.strerror}", "expected a tar file, a URL or -"
        ) from None
    return _file_chunks(file)


def _file_chunks(file: int) -> Iterator[bytes]:
    try:
        while chunk := os.read(file, _CHUNK):
            yield chunk
    finally:
        os.close(file)

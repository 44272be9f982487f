"""``import``: an image of a root file system: a tar as ``docker export`` writes it, a directory, or
a squashfs file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.dropped import tell
from cwl_userspace.cli.help import show
from cwl_userspace.cli.progress import Progress
from cwl_userspace.cli.rights import with_rights
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import ImageError, UsageError
from cwl_userspace.image import squashfs
from cwl_userspace.image.tarball import Tarball
from cwl_userspace.image.treetar import tree_bytes
from cwl_userspace.oci import DOCUMENT_LIMIT, Platform, load_json
from cwl_userspace.reference import ImageReference
from cwl_userspace.store.images import add
from cwl_userspace.store.workspace import workspace

OPTIONS = (
    Option("--config", VALUE, "how to run the image: what flatten --config wrote", "FILE"),
    Option("-q --quiet", FLAG, "no progress"),
    Option("--help", FLAG, "show this text"),
)
_CHUNK = 1 << 20


def command(context: Context, argv: Sequence[str]) -> int:
    """Import one tree under a name, or under none, and print the image's id."""
    words = parse("import", OPTIONS, argv)
    if words.flag("help"):
        return show("import", "FILE|DIRECTORY|URL|- [NAME]", OPTIONS)
    if not 1 <= len(words.arguments) <= 2:
        raise UsageError("import needs a file and a name", "cwl-userspace import FILE|URL|- NAME")
    place = words.arguments[0]
    names = [ImageReference.parse(name) for name in words.arguments[1:]]
    context.log.quiet = context.log.quiet or words.flag("quiet")
    config = _config(words.value("config"))
    if os.path.isdir(place):
        tree = os.path.realpath(place)
        chunks = tree_bytes(tree, made_here=sorted({tree, os.path.abspath(place)} - {"/"}))
        with_rights(lambda: add_tree(context, place, chunks, names, config))
    elif squashfs.is_squashfs(place):
        with_rights(lambda: _squashfs(context, place, names, config))
    else:
        add_tree(context, place, _chunks(context, place), names, config)
    return 0


def add_tree(
    context: Context,
    place: str,
    chunks: Iterator[bytes],
    names: Sequence[ImageReference],
    config: Mapping[str, Any],
) -> None:
    """File the image of a tree, which is given as the bytes of a tar, and print its id."""
    tarball = Tarball(chunks, "standard input" if place == "-" else place)
    image = tarball.only_image(Platform.host(), config)
    with Progress(place, context.log) as progress:
        record = add(context.store, image, tarball, names, progress, whiteouts=False)
    tell(context, place, record)
    print(record.id)


def _squashfs(
    context: Context, place: str, names: Sequence[ImageReference], config: Mapping[str, Any]
) -> None:
    context.store.prepare()
    with workspace(context.store) as private:
        tree = os.path.join(private, "unpacked")
        squashfs.unpack(place, tree, context.environ)
        add_tree(context, place, tree_bytes(tree), names, config)


def _config(path: str) -> Mapping[str, Any]:
    """The configuration in a file, without what it may say of layers; raise ImageError."""
    if not path:
        return {}
    try:
        with open(path, "rb") as file:
            document = load_json(file.read(DOCUMENT_LIMIT + 1), path)
    except OSError as error:
        raise ImageError(
            f"{path} cannot be read: {error.strerror}", "expected what flatten --config wrote"
        ) from None
    if not isinstance(document, dict) or not isinstance(document.get("config") or {}, dict):
        raise ImageError(
            f"{path} is not an image's configuration", "expected what flatten --config wrote"
        )
    return {key: value for key, value in document.items() if key not in ("rootfs", "history")}


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

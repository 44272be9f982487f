"""``save``: images as an archive that ``docker load``, skopeo and our own ``load`` read."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.output import Write, aside_of, write_archive
from cwl_userspace.cli.rights import with_rights
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import InvalidReference, StoreError, UsageError
from cwl_userspace.image import dockersave, ocisave
from cwl_userspace.image.saving import DirectorySink, Saved, Sink, TarSink
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records
from cwl_userspace.store.kept import original
from cwl_userspace.store.records import Record

OPTIONS = (
    Option("-o --output", VALUE, "write to a file, not to standard output", "FILE"),
    Option("--format", VALUE, "docker-archive (the default), oci-archive or oci-dir", "FORMAT"),
    Option("--help", FLAG, "show this text; docs/care.rst says what keeps its id and digest"),
)
DOCKER, OCI, OCI_DIRECTORY = "docker-archive", "oci-archive", "oci-dir"


def command(context: Context, argv: Sequence[str]) -> int:
    """Write one archive of all images that are named."""
    words = parse("save", OPTIONS, argv)
    if words.flag("help"):
        return show("save", "[-o FILE] NAME...", OPTIONS)
    if not words.arguments:
        raise UsageError("save needs an image", "see cwl-userspace images")
    form, output = words.value("format", DOCKER), words.value("output")
    _check(form, output)
    context.store.check()
    images = _images(context, words.arguments)
    with_rights(lambda: _save(images, form, output))
    return 0


def _check(form: str, output: str) -> None:
    if form not in (DOCKER, OCI, OCI_DIRECTORY):
        raise UsageError(f"--format is {form!r}", f"expected {DOCKER}, {OCI} or {OCI_DIRECTORY}")
    if form == OCI_DIRECTORY and not output:
        raise UsageError("a directory cannot go to standard output", "name it with -o")
    if form == OCI_DIRECTORY and os.path.lexists(output):
        raise UsageError(f"{output} is there already", "name a directory that is to be made")


def _save(images: Sequence[Saved], form: str, output: str) -> None:
    if form == DOCKER:
        write_archive("save", output, lambda write: dockersave.save(images, write))
    elif form == OCI:
        write_archive("save", output, lambda write: _archive(images, write))
    else:
        with aside_of(output) as aside:
            _layout(images, DirectorySink(aside))


def _archive(images: Sequence[Saved], write: Write) -> None:
    archive = TarSink(write)
    _layout(images, archive)
    archive.finish()


def _layout(images: Sequence[Saved], sink: Sink) -> None:
    layout = ocisave.Layout(sink)
    for image in images:
        layout.add(image)
    layout.finish()


def _images(context: Context, names: Sequence[str]) -> list[Saved]:
    """Each image once, with all the names that it was given here."""
    found: dict[str, tuple[Record, list[ImageReference]]] = {}
    for text in names:
        record = records.find(context.store, text)
        if not context.store.has(record.chain):
            raise StoreError(f"the tree of {text} is not in the store", "pull it again")
        _, given = found.setdefault(str(record.id), (record, []))
        reference = _tag(context, text)
        if reference is not None and str(reference) not in map(str, given):
            given.append(reference)
    return [
        Saved(
            tree=record.chain.hex,
            rootfs=context.stored_tree(record),
            config=record.document,
            names=given,
            original=original(context.store, record),
        )
        for record, given in found.values()
    ]


def _tag(context: Context, text: str) -> ImageReference | None:
    """The name with a tag that a word is; None for an id or a digest."""
    try:
        reference = ImageReference.parse(text)
    except InvalidReference:
        return None
    key = records.key_of(reference)
    known = any(name == key for name, _ in records.names(context.store))
    return reference if known and reference.digest is None else None

"""``save``: images as an archive that ``docker load``, skopeo and our own ``load`` read."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.output import write_archive
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import InvalidReference, StoreError, UsageError
from cwl_userspace.image.dockersave import Saved, save
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records
from cwl_userspace.store.records import Record

OPTIONS = (
    Option("-o --output", VALUE, "write to a file, not to standard output", "FILE"),
    Option("--help", FLAG, "show this text; each image becomes one layer, so its id is another"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Write one archive of all images that are named."""
    words = parse("save", OPTIONS, argv)
    if words.flag("help"):
        return show("save", "[-o FILE] NAME...", OPTIONS)
    if not words.arguments:
        raise UsageError("save needs an image", "see cwl-userspace images")
    context.store.check()
    images = _images(context, words.arguments)
    write_archive("save", words.value("output"), lambda write: save(images, write))
    return 0


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
        Saved(record.chain.hex, context.stored_tree(record), record.document, given)
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

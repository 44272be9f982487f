"""What is known of image files: their images, so that no file is read a second time.

A note is a small file of the user's own cache. ``FILE`` is a file as it is now, by its device,
inode, size and time; ``IMAGE`` an image by its id, whose tree the store has under another name
than its layers have, because the file was written here. A note that is gone costs time alone.
"""

from __future__ import annotations

import json
import os

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ContentMismatch, ImageNotFound, StoreError
from cwl_userspace.store import records
from cwl_userspace.store.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cwl_userspace.cli.context import Context

_PLACE = "image-files"


def of_file(found: os.stat_result) -> str:
    """The name of the note of a file."""
    parts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    return "file-" + "-".join(f"{part:x}" for part in parts)


def of_image(identifier: Digest) -> str:
    """The name of the note of an image."""
    return f"image-{identifier.hex}"


def find(context: Context, note: str) -> Record | None:
    """The image that a note names, if the store still has its tree."""
    try:
        with open(os.path.join(context.settings.cache, _PLACE, note), "rb") as file:
            record = Record(json.loads(file.read()), context.store.path)
    except (OSError, ValueError, KeyError, TypeError, ContentMismatch):
        return None
    return record if context.store.has(record.chain) else None


def known(context: Context, identifier: Digest) -> Record | None:
    """The image of an id, if the store has it and its tree, under whatever name."""
    try:
        record = records.by_id(context.store, identifier.hex)
        if context.store.has(record.chain):
            return record
    except (ImageNotFound, StoreError):
        pass
    return find(context, of_image(identifier))


def keep(context: Context, note: str, record: Record) -> None:
    """Write a note; where that cannot be, there is none."""
    place = os.path.join(context.settings.cache, _PLACE)
    aside = os.path.join(place, f".{os.getpid()}-{os.urandom(4).hex()}")
    try:
        os.makedirs(place, mode=0o700, exist_ok=True)
        with open(aside, "x", encoding="utf-8") as file:
            file.write(record.to_json())
        os.replace(aside, os.path.join(place, note))
    except OSError:
        return

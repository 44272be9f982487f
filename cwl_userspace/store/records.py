"""Names and images that the store knows; reading them is on the way of every run."""

from __future__ import annotations

import json
import os

from cwl_userspace.digest import Digest
from cwl_userspace.errors import (
    ContentMismatch,
    ImageError,
    ImageNotFound,
    InvalidReference,
    StoreError,
)
from cwl_userspace.reference import ImageReference
from cwl_userspace.spec import ImageConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cwl_userspace.store.store import Store

_HEX = frozenset("0123456789abcdef")
_SHORTEST_ID = 4


class Record:
    """One image in the store: ``id`` is the digest of its configuration, as in Docker.

    ``store`` is the path of the store that knows it, which may be one beneath the user's own.
    """

    __slots__ = ("chain", "created", "document", "id", "manifest", "size", "store")

    def __init__(self, document: dict[str, Any], store: str = "") -> None:
        self.store = store
        self.document: dict[str, Any] = document["config"]
        self.id = Digest.parse(document["id"])
        self.chain = Digest.parse(document["chain"])
        self.manifest: str = document["manifest"]
        self.size: int = document["size"]
        self.created: float = document["created"]

    @property
    def config(self) -> ImageConfig:
        """How the image wants to be run."""
        return ImageConfig.from_json(self.document.get("config") or {})

    def to_json(self) -> str:
        """The text that ``Record`` is read from."""
        return json.dumps(
            {
                "id": str(self.id),
                "chain": str(self.chain),
                "manifest": self.manifest,
                "size": self.size,
                "created": self.created,
                "config": self.document,
            }
        )


def key_of(reference: ImageReference) -> str:
    """The full name under which an image is filed: a digest decides over a tag."""
    if reference.digest is not None:
        return f"{reference.name}@{reference.digest}"
    return f"{reference.name}:{reference.tag}"


def file_name(key: str) -> str:
    """A full name as one file name that can be turned back."""
    return key.replace("%", "%25").replace("/", "%2F")


def find(store: Store, text: str) -> Record:
    """The image of a name or an id (or its beginning), as Docker looks them up.

    Raise ImageNotFound if the store has none, ImageError if an id is not unique.
    """
    try:
        return by_reference(store, ImageReference.parse(text))
    except (ImageNotFound, InvalidReference) as error:
        wanted = text.removeprefix("sha256:")
        if len(wanted) < _SHORTEST_ID or not _HEX.issuperset(wanted):
            raise
        matches = [i for i in identifiers(store) if i.startswith(wanted)]
        if not matches:
            raise ImageNotFound(
                f"no image {text} in the store", "see cwl-userspace images"
            ) from error
        if len(matches) > 1:
            raise ImageError(
                f"{text} is the beginning of {len(matches)} ids", "give more of it"
            ) from None
        return by_id(store, matches[0])


def by_reference(store: Store, reference: ImageReference) -> Record:
    """The image filed under a name; raise ImageNotFound if there is none.

    Of several stores the first decides that has the name and, somewhere, the image's files.
    """
    key = key_of(reference)
    first = None
    for each in store.all():
        try:
            found = _named(store, each, key)
        except StoreError as error:
            store.leave_out(each, error)
            continue
        if found is not None and (each is store or store.has(found.chain)):
            return found
        first = first or found
    if first is not None:
        return first
    trouble = f"; {store.trouble}" if store.trouble else ""
    raise ImageNotFound(
        f"no image {reference.familiar} in the store{trouble}",
        f"run cwl-userspace pull {reference.familiar}",
    )


def _named(store: Store, each: Store, key: str) -> Record | None:
    """The image that one store has under a full name; the name may be for another store's image."""
    path = os.path.join(each.path, "names", file_name(key))
    entry = _read(path)
    if entry is None:
        return None
    try:
        hexadecimal = Digest.parse(entry["image"]).hex
    except (KeyError, TypeError, ContentMismatch):
        raise _damaged(path) from None
    return _identified(each, hexadecimal) or by_id(store, hexadecimal)


def by_id(store: Store, hexadecimal: str) -> Record:
    """The image with an id of 64 digits; raise ImageNotFound if there is none."""
    for each in store.all():
        try:
            found = _identified(each, hexadecimal)
        except StoreError as error:
            store.leave_out(each, error)
            continue
        if found is not None:
            return found
    raise ImageNotFound(f"no image {hexadecimal[:12]} in the store", "pull it again")


def _identified(store: Store, hexadecimal: str) -> Record | None:
    path = os.path.join(store.path, "images", f"{hexadecimal}.json")
    document = _read(path)
    if document is None:
        return None
    try:
        return Record(document, store.path)
    except (KeyError, TypeError, AttributeError, ContentMismatch):
        raise _damaged(path) from None


def identifiers(store: Store) -> list[str]:
    """The ids of all images in the store, without their ``sha256:``."""
    names = [name for each in store.all() for name in _listed(store, each, "images")]
    return sorted({name[:-5] for name in names if len(name) == 69 and name.endswith(".json")})


def images(store: Store) -> Iterator[Record]:
    """Every image in the store, in order of ids. One that a crash has torn, or that somebody has
    removed meanwhile, is none.
    """
    for identifier in identifiers(store):
        try:
            yield by_id(store, identifier)
        except ImageNotFound:
            continue


def names(store: Store) -> Iterator[tuple[str, str]]:
    """Every full name in the store with the id of its image, in order of names."""
    places: dict[str, Store] = {}
    for each in store.all():
        for name in _listed(store, each, "names"):
            places.setdefault(name, each)
    for name, each in sorted(places.items()):
        try:
            named = _name_and_image(os.path.join(each.path, "names", name))
        except StoreError as error:
            store.leave_out(each, error)
            continue
        if named is not None:
            yield named


def _name_and_image(path: str) -> tuple[str, str] | None:
    entry = _read(path)
    try:
        return None if entry is None else (str(entry["name"]), str(entry["image"]))
    except (KeyError, TypeError):
        raise _damaged(path) from None


def _listed(store: Store, each: Store, name: str) -> list[str]:
    try:
        return _listing(os.path.join(each.path, name))
    except StoreError as error:
        store.leave_out(each, error)
        return []


def _listing(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(
            f"the store cannot be read: {error.strerror}: {directory}", "set CWL_USERSPACE_HOME"
        ) from None


def _read(path: str) -> Any:
    """What a file has; None if it is not there, or a crash came before the disk had all of it."""
    try:
        with open(path, "rb") as file:
            return json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise StoreError(
            f"the store cannot be read: {error.strerror}: {path}", "set CWL_USERSPACE_HOME"
        ) from None


def _damaged(path: str) -> StoreError:
    return StoreError(f"{path} is damaged", "remove that file and pull again")

"""Check what the store says of its images: names, records, and the blobs behind them.

Nothing is written and no file stops the check: whatever is wrong is a Problem, and the next file is
looked at. The trees themselves are for ``compare``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from cwl_userspace.digest import Digest
from cwl_userspace.errors import (
    ContentMismatch,
    ImageError,
    InvalidReference,
    StoreError,
    UserspaceError,
)
from cwl_userspace.image.source import check_document_size
from cwl_userspace.oci import Manifest, chain_id, diff_ids_of, load_json, parse_document
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import packs, records
from cwl_userspace.store.store import Store

_CHUNK = 1 << 20
_HEX = frozenset("0123456789abcdef")


class Problem(NamedTuple):
    """What is wrong with a file of the store; ``image`` is whose, as 64 digits, if that is known.

    ``name`` is the full name of an image where only fetching that name anew can help.
    """

    where: str
    what: str
    image: str = ""
    name: str = ""


class Named(NamedTuple):
    """A sound entry of a name."""

    name: str
    image: str
    protected: bool


def check_names(store: Store, problems: list[Problem]) -> Iterator[Named]:
    """All names that mean something; what does not is a problem."""
    for file in sorted(_listing(store, "names")):
        where = f"names/{file}"
        try:
            entry = _object(store, where)
            reference = ImageReference.parse(str(entry["name"]))
            key = records.key_of(reference)
            if records.file_name(key) != file:
                raise ValueError(f"it is about {key}")
            image = Digest.parse(entry["image"]).hex
        except (KeyError, ValueError, TypeError, UserspaceError) as error:
            problems.append(Problem(where, _reason(error), name=_name_of(file)))
            continue
        places = (os.path.join(each.path, "images", f"{image}.json") for each in store.all())
        if not any(map(os.path.exists, places)):
            what = f"its image {image[:12]} is not in the store"
            problems.append(Problem(where, what, name=key))
            continue
        yield Named(key, image, bool(entry.get("protected")))


def check_image(store: Store, identifier: str, problems: list[Problem]) -> records.Record | None:
    """The record of an image, if it can be read; what is wrong with it and its blobs is added."""
    where = f"images/{identifier}.json"
    record = None
    try:
        record = records.Record(_object(store, where))
        if record.id.hex != identifier:
            raise ValueError(f"it is about {record.id}")
    except (KeyError, ValueError, TypeError, AttributeError, UserspaceError) as error:
        problems.append(Problem(where, _reason(error), identifier))
        record = None
    config = _blob(store, identifier, identifier, problems)
    if record is None:
        return None
    if config is not None:
        _check_config(record, config, where, problems)
    if record.manifest:
        _check_manifest(store, record, problems)
    return record


def check_strays(store: Store, known: Collection[str], problems: list[Problem]) -> list[str]:
    """Files that no image has: in ``images`` a problem, else returned as what prune removes.

    ``known`` are the names below the store of all that images have.
    """
    for file in sorted(_listing(store, "images")):
        if not _is_hex(file.removesuffix(".json")) or not file.endswith(".json"):
            problems.append(Problem(f"images/{file}", "it is not the record of an image"))
    loose = []
    for top in ("blobs/sha256", "trees", "packs"):
        found = (f"{top}/{name}" for name in sorted(_listing(store, top)))
        loose += [name for name in found if name not in known]
    return loose


def blobs_of(store: Store, record: records.Record) -> set[str]:
    """The names below the store of all that an image may have there."""
    found = {f"{kind}/{record.chain.hex}" for kind in ("trees", "packs")}
    found.add(f"blobs/sha256/{record.id.hex}")
    manifest = record.manifest.removeprefix("sha256:")
    if manifest:
        found.add(f"blobs/sha256/{manifest}")
        found.update(f"blobs/sha256/{layer.hex}" for layer in layers_of(store, record))
    return found


def layers_of(store: Store, record: records.Record) -> list[Digest]:
    """The digests of an image's layers as its manifest has them; none if that is not to be had."""
    manifest = record.manifest.removeprefix("sha256:")
    try:
        with open(os.path.join(store.path, "blobs/sha256", manifest), "rb") as file:
            parsed = parse_document(file.read(), "the manifest")
    except (OSError, UserspaceError):
        return []
    if not isinstance(parsed, Manifest):
        return []
    return [layer.digest for layer in parsed.layers if layer.digest is not None]


def hash_file(path: str) -> tuple[str, int]:
    """The SHA-256 of a file, as 64 digits, and its size."""
    found = hashlib.sha256()
    size = 0
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
            size += len(chunk)
    return found.hexdigest(), size


def check_layers(store: Store, record: records.Record, problems: list[Problem]) -> int:
    """Hash the layers of an image that the store has kept; how many bytes that were."""
    total = 0
    for digest in layers_of(store, record):
        where = f"blobs/sha256/{digest.hex}"
        path = os.path.join(store.path, where)
        try:
            found, size = hash_file(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(Problem(where, f"it cannot be read: {error.strerror}", record.id.hex))
            continue
        total += size
        if found != digest.hex:
            problems.append(Problem(where, f"its digest is sha256:{found}", record.id.hex))
    return total


def check_pack(store: Store, record: records.Record, problems: list[Problem]) -> int:
    """Hash an image's tree as one file, if the store has it as that; how many bytes that were."""
    where = f"packs/{record.chain.hex}"
    place = os.path.join(store.path, where)
    if not os.path.isdir(place):
        return 0
    try:
        pack = packs.read(place)
        found, size = hash_file(pack.file)
    except (OSError, StoreError) as error:
        reason = f"it cannot be read: {error.strerror}" if isinstance(error, OSError) else ""
        problems.append(Problem(where, reason or _reason(error), record.id.hex))
        return 0
    if found != pack.digest.hex or size != pack.size:
        problems.append(Problem(where, f"its digest is sha256:{found}", record.id.hex))
    return size


def _check_config(
    record: records.Record, config: bytes, where: str, problems: list[Problem]
) -> None:
    what = "the image configuration"
    try:
        if load_json(config, what) != record.document:
            raise ValueError("its configuration is not that of the blob")
        if chain_id(list(diff_ids_of(config, what))) != record.chain:
            raise ValueError("its chain is not that of the layers in its configuration")
    except (ValueError, UserspaceError) as error:
        problems.append(Problem(where, _reason(error), record.id.hex))


def _check_manifest(store: Store, record: records.Record, problems: list[Problem]) -> None:
    try:
        digest = Digest.parse(record.manifest)
    except ContentMismatch as error:
        problems.append(Problem(f"images/{record.id.hex}.json", _reason(error), record.id.hex))
        return
    raw = _blob(store, digest.hex, record.id.hex, problems)
    if raw is None:
        return
    try:
        parsed = parse_document(raw, "the manifest")
        if isinstance(parsed, Manifest) and parsed.config.digest != record.id:
            raise ValueError(f"it is the manifest of {parsed.config.digest}")
    except (ValueError, ImageError) as error:
        where = f"blobs/sha256/{digest.hex}"
        problems.append(Problem(where, _reason(error), record.id.hex))


def _blob(store: Store, name: str, image: str, problems: list[Problem]) -> bytes | None:
    """A small blob, if it is what its name says."""
    where = f"blobs/sha256/{name}"
    path = os.path.join(store.path, where)
    try:
        check_document_size(os.stat(path).st_size, where)
        with open(path, "rb") as file:
            raw = file.read()
    except OSError as error:
        problems.append(Problem(where, f"it cannot be read: {error.strerror}", image))
        return None
    except ImageError as error:
        problems.append(Problem(where, _reason(error), image))
        return None
    found = hashlib.sha256(raw).hexdigest()
    if found != name:
        problems.append(Problem(where, f"its digest is sha256:{found}", image))
        return None
    return raw


def _object(store: Store, where: str) -> dict[str, Any]:
    """A small file that must be a JSON object; raise ValueError for anything else."""
    try:
        with open(os.path.join(store.path, where), "rb") as file:
            document = json.loads(file.read())
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    return document


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]!r}"
    if isinstance(error, UserspaceError):
        return error.message
    return str(error)


def _name_of(file: str) -> str:
    """The full name that a file of ``names`` is called after; empty if it is none."""
    key = file.replace("%2F", "/").replace("%25", "%")
    try:
        reference = ImageReference.parse(key)
    except InvalidReference:
        return ""
    return key if records.key_of(reference) == key else ""


def _listing(store: Store, name: str) -> list[str]:
    try:
        return os.listdir(os.path.join(store.path, name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_hex(text: str) -> bool:
    return len(text) == 64 and _HEX.issuperset(text)

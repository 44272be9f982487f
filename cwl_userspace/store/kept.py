"""Layers that the store has kept as they were fetched."""

from __future__ import annotations

import hashlib
import os

from cwl_userspace.errors import ImageError
from cwl_userspace.image.saving import Original
from cwl_userspace.oci import Manifest, pair_layers, parse_document
from cwl_userspace.store.records import Record
from cwl_userspace.store.store import Store


def original(store: Store, record: Record) -> Original | None:
    """An image as it was fetched; None where the store has not kept all of it."""
    try:
        config = _document(store, record.id.hex)
        manifest = _document(store, record.manifest.removeprefix("sha256:"))
        parsed = parse_document(manifest, f"the manifest {record.manifest}")
        if not isinstance(parsed, Manifest) or parsed.config.digest != record.id:
            return None
        layers = pair_layers(parsed, config, str(record.id))
    except (OSError, ImageError):
        return None
    found = []
    for layer in layers:
        if layer.blob.digest is None:
            return None
        path = _path(store, layer.blob.digest.hex)
        if not os.path.isfile(path):
            return None
        found.append((layer, path))
    return Original(manifest, config, found)


def _document(store: Store, name: str) -> bytes:
    """A small blob; raise OSError where it is not there or is damaged."""
    with open(_path(store, name), "rb") as file:
        raw = file.read()
    if hashlib.sha256(raw).hexdigest() != name:
        raise OSError(f"{name} is damaged")
    return raw


def _path(store: Store, name: str) -> str:
    return os.path.join(store.path, "blobs", "sha256", name)

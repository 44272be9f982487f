"""Layers that the store has kept as they were fetched."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ImageError
from cwl_userspace.image.saving import Original, file_chunks
from cwl_userspace.oci import Image, Layer, Manifest, Platform, pair_layers, parse_document
from cwl_userspace.reference import ImageReference
from cwl_userspace.store.records import Record
from cwl_userspace.store.store import Store


class Kept:
    """An image that the store has kept as it was fetched, as a source for its tree."""

    label = "the store's own layers"

    def __init__(self, kept: Original, digest: Digest) -> None:
        self._kept = kept
        self._digest = digest

    def image(self, reference: ImageReference, platform: Platform) -> Image:
        """The image, whatever it is asked for by."""
        layers = tuple(layer for layer, _ in self._kept.layers)
        return Image(self._kept.config, layers, self._kept.manifest, self._digest)

    def layer(self, layer: Layer) -> Iterator[bytes]:
        """The bytes of a layer, not verified."""
        return next(file_chunks(path) for one, path in self._kept.layers if one == layer)


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

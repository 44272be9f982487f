"""Copies images into an OCI image layout, which then serves as a mirror where there is no network.

Manifests, indexes and blobs keep their bytes, so that every digest that a document names stays
right. Of an index only the image of one platform is copied: that makes it a sparse one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ImageError, StoreError
from cwl_userspace.image.exclusive import lock
from cwl_userspace.image.layout import MARKER, REF_NAME
from cwl_userspace.image.source import Source, nowhere
from cwl_userspace.image.stream import Checked
from cwl_userspace.oci import OCI_INDEX, OCI_MANIFEST, Image, Platform, load_json
from cwl_userspace.reference import ImageReference

_BLOBS = "blobs/sha256"
_PART = ".part-"
# A writer that has been silent for so long was killed.
_ABANDONED = 24 * 3600.0


class Mirror:
    """A layout directory that images are copied into; safe for several threads and processes."""

    def __init__(self, path: str, say: Callable[[str], object]) -> None:
        """Make the directory, or go on with one that is there; raise StoreError.

        ``say`` is told of another who writes there for long.
        """
        self.path = os.path.abspath(path)
        self._say = say
        self._locks: dict[Digest, threading.Lock] = {}
        with self._writing(MARKER):
            os.makedirs(self._place(_BLOBS), exist_ok=True)
            if not os.path.exists(self._place(MARKER)):
                self._replace(MARKER, b'{"imageLayoutVersion": "1.0.0"}')
            for name in os.listdir(self.path):
                if name.startswith(_PART) and self._is_abandoned(name):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self._place(name))

    def copy(
        self, reference: ImageReference, sources: Sequence[Source], platform: Platform
    ) -> Digest:
        """Copy an image from the first source that has it; return the digest of what has its name.

        Raise the sources' ImageError or StoreError; then the name means what it meant before.
        """
        errors: list[ImageError] = []
        for source in sources:
            try:
                return self._copy(reference, source, source.image(reference, platform))
            except ImageError as error:
                errors.append(error)
        raise nowhere(reference, errors)

    def _copy(self, reference: ImageReference, source: Source, image: Image) -> Digest:
        for layer in image.layers:
            digest, size = layer.blob.digest, layer.blob.size
            assert digest is not None
            what = f"the layer {digest} of {reference.familiar}"
            with self._one_of(digest):
                if not self._has(digest, size):
                    chunks = Checked(source.layer(layer), digest, size, what)
                    self._write(f"{_BLOBS}/{digest.hex}", chunks)
        documents = (*image.indexes, image.manifest)
        for document in (image.config, *documents):
            digest = _digest_of(document)
            if not self._has(digest, len(document)):
                self._write(f"{_BLOBS}/{digest.hex}", [document])
        self._enter(_entry(reference, documents[0], image))
        return _digest_of(documents[0])

    def _one_of(self, digest: Digest) -> threading.Lock:
        """Images that are copied at once may have a layer in common: one thread fetches it."""
        return self._locks.setdefault(digest, threading.Lock())

    def _has(self, digest: Digest, size: int | None) -> bool:
        """True if a blob is here: it got its name when it was whole and verified."""
        try:
            return os.path.getsize(self._place(f"{_BLOBS}/{digest.hex}")) == size
        except OSError:
            return False

    def _enter(self, entry: dict[str, Any]) -> None:
        """Put an entry into the index, in place of one of that name for that platform."""
        with self._writing("index.json"), self._alone():
            try:
                with open(self._place("index.json"), "rb") as file:
                    index = load_json(file.read(), f"index.json in {self.path}")
            except FileNotFoundError:
                index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
            if not isinstance(index, dict) or not isinstance(index.get("manifests"), list):
                raise StoreError(f"{self.path} is no OCI image layout", "name another directory")
            others = [other for other in index["manifests"] if not _same(other, entry)]
            # In the order of names: several are fetched at once, and any may be the first.
            index["manifests"] = sorted([*others, entry], key=_name)
            self._replace("index.json", json.dumps(index, indent=1).encode())

    def _replace(self, name: str, content: bytes) -> None:
        self._write(name, [content])

    def _write(self, name: str, chunks: Iterable[bytes]) -> None:
        """A file that appears when it is whole, on the disk, and its chunks have been verified."""
        aside = self._place(f"{_PART}{os.getpid()}-{os.urandom(6).hex()}")
        with self._writing(name):
            try:
                with open(aside, "xb") as file:  # buffered: one write may take only a part
                    file.writelines(chunks)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(aside, self._place(name))
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(aside)
                raise

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep two calls from losing each other's entry, on file systems that have locks."""
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            lock(directory, self.path, self._say)
            yield
        finally:
            os.close(directory)

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self._place(name)} cannot be written: {error.strerror}",
                "expected a directory that you may write to, with room for the images",
            ) from None

    def _is_abandoned(self, name: str) -> bool:
        with contextlib.suppress(OSError):
            return time.time() - os.path.getmtime(self._place(name)) > _ABANDONED
        return False

    def _place(self, name: str) -> str:
        return os.path.join(self.path, name)


def _entry(reference: ImageReference, document: bytes, image: Image) -> dict[str, Any]:
    """What the index says of an image: its name, and for a manifest the platform."""
    usual = OCI_INDEX if image.indexes else OCI_MANIFEST
    stated = load_json(document, "the manifest").get("mediaType")
    entry: dict[str, Any] = {
        "mediaType": stated if isinstance(stated, str) and stated else usual,
        "digest": str(_digest_of(document)),
        "size": len(document),
        "annotations": {REF_NAME: str(reference)},
    }
    if not image.indexes:
        config = load_json(image.config, "the configuration")
        names = ("os", "architecture", "variant")
        entry["platform"] = {name: config[name] for name in names if config.get(name)}
    return entry


def _name(entry: object) -> str:
    """What an entry of an index is called; nothing if it has no name, or is of no known shape."""
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    return str(annotations.get(REF_NAME, "")) if isinstance(annotations, dict) else ""


def _same(other: object, entry: dict[str, Any]) -> bool:
    if not isinstance(other, dict) or _name(other) != _name(entry):
        return False
    return other.get("platform") in (None, entry.get("platform"))


def _digest_of(raw: bytes) -> Digest:
    return Digest(hashlib.sha256(raw).hexdigest())

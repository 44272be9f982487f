"""An OCI image layout directory as a source (OCI image specification, image-layout.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator

from cwl_userspace.errors import ImageError, ImageNotFound
from cwl_userspace.image.source import check_document_size, resolve, verified
from cwl_userspace.oci import Descriptor, Image, Index, Layer, Platform, load_json, parse_document
from cwl_userspace.reference import ImageReference

REF_NAME = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME = "io.containerd.image.name"
_CHUNK = 1 << 20


class Layout:
    """A directory with ``oci-layout``, ``index.json`` and ``blobs``; serves as a mirror, too."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    @property
    def label(self) -> str:
        """How messages name this source."""
        return f"oci:{self.directory}"

    def image(self, reference: ImageReference, platform: Platform) -> Image:
        """The image whose digest or full name the reference gives; raise ImageNotFound."""
        offered = [entry for entry in self._entries() if _matches(entry, reference)]
        if not offered:
            names = ", ".join(sorted(self.names())) or "no names"
            raise ImageNotFound(f"{self.label} does not have {reference.familiar}", f"has {names}")
        return self._resolve(offered[-1], platform, reference.familiar)

    def only_image(self, platform: Platform) -> Image:
        """The one image of a layout that need not have a name; raise ImageError for several."""
        offered = self._entries()
        fitting = [e for e in offered if e.platform is None or platform.accepts(e.platform)]
        if len(fitting) != 1:
            raise ImageError(
                f"{self.label} holds {len(offered)} images, {len(fitting)} of them for {platform}",
                f"name one of {', '.join(sorted(self.names())) or 'them by digest'}",
            )
        return self._resolve(fitting[0], platform, self.label)

    def names(self) -> list[str]:
        """The names that the index gives to its images, as they stand there, each once."""
        found = (entry.annotations.get(REF_NAME) for entry in self._entries())
        return list(dict.fromkeys(name for name in found if name))

    def layer(self, layer: Layer) -> Iterator[bytes]:
        """The bytes of a layer's blob, not verified."""
        with _open(self._path(layer.blob), self.label) as file:
            while chunk := os.read(file.fileno(), _CHUNK):
                yield chunk

    def _resolve(self, entry: Descriptor, platform: Platform, what: str) -> Image:
        document = verified(self._blob(entry), entry, what)
        return resolve(document, self._blob, platform, what)

    def _entries(self) -> tuple[Descriptor, ...]:
        path = os.path.join(self.directory, "index.json")
        with _open(path, self.label) as file:
            check_document_size(os.fstat(file.fileno()).st_size, path)
            raw = file.read()
        parsed = parse_document(raw, path)
        if not isinstance(parsed, Index):
            raise ImageError(f"{path} is not an index", "expected an OCI image layout")
        return parsed.manifests

    def _blob(self, descriptor: Descriptor) -> bytes:
        path = self._path(descriptor)
        with _open(path, self.label) as file:
            check_document_size(os.fstat(file.fileno()).st_size, path)
            return file.read()

    def _path(self, descriptor: Descriptor) -> str:
        assert descriptor.digest is not None
        return os.path.join(self.directory, "blobs", "sha256", descriptor.digest.hex)


def is_layout(directory: str) -> bool:
    """True if the directory has the marker file of an OCI image layout."""
    return os.path.isfile(os.path.join(directory, "oci-layout"))


def check_layout(directory: str) -> None:
    """Raise ImageError if the marker file is missing or of a version that nobody knows."""
    path = os.path.join(directory, "oci-layout")
    with _open(path, f"oci:{directory}") as file:
        version = load_json(file.read(4096), path)
    if not isinstance(version, dict) or not str(version.get("imageLayoutVersion")).startswith("1."):
        raise ImageError(f"{path} says {version!r:.60}", "expected imageLayoutVersion 1.0.0")


def _matches(entry: Descriptor, reference: ImageReference) -> bool:
    if reference.digest is not None:
        return entry.digest == reference.digest
    names = (entry.annotations.get(REF_NAME), entry.annotations.get(_CONTAINERD_NAME))
    return str(reference) in names or reference.familiar in names


def _open(path: str, label: str):  # type: ignore[no-untyped-def]
    try:
        return open(path, "rb")
    except OSError as error:
        raise ImageNotFound(
            f"{label} cannot be read: {error.strerror}: {path}",
            "expected an OCI image layout directory",
        ) from None

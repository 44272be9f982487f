"""An OCI image layout as a source (OCI image specification, image-layout.md)."""

from __future__ import annotations

from collections.abc import Iterator

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ImageError, ImageNotFound
from cwl_userspace.image.files import Directory, Files, read
from cwl_userspace.image.source import resolve, verified
from cwl_userspace.oci import Descriptor, Image, Index, Layer, Platform, load_json, parse_document
from cwl_userspace.reference import ImageReference

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
MARKER = "oci-layout"


class Layout:
    """``oci-layout``, ``index.json`` and ``blobs``, in a directory or a tar; serves as a mirror."""

    def __init__(self, files: Files) -> None:
        self._files = files

    @classmethod
    def directory(cls, path: str) -> Layout:
        """The layout in a directory."""
        return cls(Directory(path))

    @property
    def label(self) -> str:
        """How messages name this source."""
        return self._files.label

    def image(self, reference: ImageReference, platform: Platform) -> Image:
        """The image whose digest or full name the reference gives; raise ImageNotFound."""
        if reference.digest is not None and _blob_name(reference.digest) in self._files:
            entry = Descriptor("", reference.digest, None)
            return self.resolve(entry, platform, reference.familiar)
        offered = [entry for entry in self.entries() if _matches(entry, reference)]
        if not offered:
            has = ", ".join(sorted(filter(None, map(name_of, self.entries())))) or "no names"
            raise ImageNotFound(f"{self.label} does not have {reference.familiar}", f"it has {has}")
        fitting = [e for e in offered if e.platform is None or platform.accepts(e.platform)]
        return self.resolve((fitting or offered)[-1], platform, reference.familiar)

    def layer(self, layer: Layer) -> Iterator[bytes]:
        """The bytes of a layer's blob, not verified."""
        return self._files.chunks(_blob_name(layer.blob.digest))

    def entries(self) -> tuple[Descriptor, ...]:
        """What ``index.json`` lists; raise ImageError if this is no layout of a known version."""
        marker = load_json(read(self._files, MARKER), f"{MARKER} in {self.label}")
        version = marker.get("imageLayoutVersion") if isinstance(marker, dict) else marker
        if not str(version).startswith("1."):
            raise ImageError(
                f"{self.label} is a layout of version {version!r:.40}", "expected 1.0.0"
            )
        what = f"index.json in {self.label}"
        parsed = parse_document(read(self._files, "index.json"), what)
        if not isinstance(parsed, Index):
            raise ImageError(f"{what} is not an index", "expected an OCI image layout")
        return parsed.manifests

    def resolve(self, entry: Descriptor, platform: Platform, what: str) -> Image:
        """Follow one entry down to an image, verifying every document."""
        document = verified(self._blob(entry), entry, what)
        if entry.platform is not None and not platform.accepts(entry.platform):
            raise ImageError(f"{what} has no image for {platform}", f"it offers {entry.platform}")
        return resolve(document, self._blob, platform, what)

    def _blob(self, descriptor: Descriptor) -> bytes:
        return read(self._files, _blob_name(descriptor.digest))


def name_of(entry: Descriptor) -> str:
    """The name that an index gives to an entry, or nothing."""
    return entry.annotations.get(CONTAINERD_NAME) or entry.annotations.get(REF_NAME) or ""


def _blob_name(digest: Digest | None) -> str:
    assert digest is not None
    return f"blobs/sha256/{digest.hex}"


def _matches(entry: Descriptor, reference: ImageReference) -> bool:
    names = (entry.annotations.get(REF_NAME), entry.annotations.get(CONTAINERD_NAME))
    return str(reference) in names or reference.familiar in names

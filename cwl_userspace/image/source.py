"""What every place that an image can come from must offer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ContentMismatch, ImageError, ImageNotFound
from cwl_userspace.oci import (
    DOCUMENT_LIMIT,
    Descriptor,
    Image,
    Index,
    Layer,
    Manifest,
    Platform,
    choose,
    pair_layers,
    parse_document,
)
from cwl_userspace.reference import ImageReference

# A chain of indexes longer than this is a loop or an attack.
_INDEX_DEPTH = 4


class Source(Protocol):
    """A registry, a mirror, an archive, a layout or a rootfs tar."""

    @property
    def label(self) -> str:
        """How messages name this source."""

    def image(self, reference: ImageReference, platform: Platform) -> Image:
        """The image's documents, verified; raise ImageNotFound where the source lacks it."""

    def layer(self, layer: Layer) -> Iterator[bytes]:
        """The bytes of a layer's blob as they come, not verified."""


def resolve(
    document: bytes,
    fetch: Callable[[Descriptor], bytes],
    platform: Platform,
    what: str,
    depth: int = _INDEX_DEPTH,
) -> Image:
    """Follow a manifest or an index, already verified, down to one image.

    ``fetch`` gives the bytes of a small blob; they are verified here. Raise ImageError where
    no image for ``platform`` is offered and ContentMismatch where bytes are not as stated.
    """
    parsed = parse_document(document, what)
    if isinstance(parsed, Index):
        if depth == 0:
            raise ImageError(f"{what} has indexes nested too deeply", "the image is damaged")
        entry = choose(parsed, platform, what)
        below = verified(fetch(entry), entry, what)
        image = resolve(below, fetch, platform, what, depth - 1)
        return image._replace(indexes=(document, *image.indexes))
    return _image(document, parsed, fetch, what)


def _image(
    document: bytes, manifest: Manifest, fetch: Callable[[Descriptor], bytes], what: str
) -> Image:
    config = verified(fetch(manifest.config), manifest.config, f"the configuration of {what}")
    return Image(
        config=config,
        layers=pair_layers(manifest, config, what),
        manifest=document,
        manifest_digest=Digest(hashlib.sha256(document).hexdigest()),
    )


def nowhere(
    reference: ImageReference, errors: Sequence[ImageError], trouble: str = ""
) -> ImageError:
    """One error for several sources: the last decides its kind, all say their reason.

    ``trouble`` is what may be another reason, such as a store that could not be looked into.
    """
    trouble = trouble and f"; {trouble}"
    if len(errors) == 1:
        errors[0].message += trouble
        return errors[0]
    if not errors:
        return ImageNotFound(f"nowhere to get {reference.familiar} from", "configure a registry")
    reasons = "; ".join(str(error) for error in errors)
    kind = type(errors[-1])
    return kind(
        f"cannot get {reference.familiar} from any of {len(errors)} places: {reasons}{trouble}"
    )


def verified(raw: bytes, expected: Descriptor, what: str) -> bytes:
    """The bytes given, if they are those of the descriptor; else raise ContentMismatch."""
    if expected.size is not None and len(raw) != expected.size:
        raise ContentMismatch(
            f"{what} has {len(raw)} bytes, not the {expected.size} stated", "the copy is damaged"
        )
    found = hashlib.sha256(raw).hexdigest()
    if expected.digest is not None and found != expected.digest.hex:
        raise ContentMismatch(
            f"{what} has the digest sha256:{found}, not {expected.digest}", "the copy is damaged"
        )
    return raw


def check_document_size(size: int, what: str) -> None:
    """Raise ImageError for a manifest or configuration that is too large to be one."""
    if size > DOCUMENT_LIMIT:
        raise ImageError(f"{what} has {size} bytes", f"expected at most {DOCUMENT_LIMIT}")

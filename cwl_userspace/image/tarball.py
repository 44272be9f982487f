"""A root file system in a tar as an image of one layer: ``docker export``, debootstrap, LXC."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from cwl_userspace.errors import ImageError
from cwl_userspace.oci import Descriptor, Image, Layer, Platform
from cwl_userspace.reference import ImageReference


class Tarball:
    """One tar, compressed or not, that is read once. Its DiffID is not known before."""

    def __init__(self, chunks: Iterable[bytes], label: str) -> None:
        self._chunks = chunks
        self._label = label

    @property
    def label(self) -> str:
        """How messages name this source."""
        return self._label

    def only_image(self, platform: Platform) -> Image:
        """The image; its configuration says nothing but the platform, as Docker's import does."""
        config = json.dumps(
            {"architecture": platform.architecture, "os": platform.os, "config": {}}
        ).encode()
        return Image(
            config=config,
            layers=(Layer(Descriptor("", None, None), None),),
        )

    def image(self, reference: ImageReference, platform: Platform) -> Image:
        """A tarball has no names to search."""
        raise ImageError(f"{self._label} is not searched by name", "use cwl-userspace import")

    def layer(self, layer: Layer) -> Iterator[bytes]:
        """The bytes of the tar, not verified."""
        return iter(self._chunks)

"""A root file system in a tar as an image of one layer: ``docker export``, debootstrap, LXC."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

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

    def only_image(self, platform: Platform, config: Mapping[str, Any] | None = None) -> Image:
        """The image. What ``config`` lacks of a configuration is as Docker's import has it."""
        said = {"architecture": platform.architecture, "os": platform.os, "config": {}}
        return Image(
            config=json.dumps({**said, **(config or {})}).encode(),
            layers=(Layer(Descriptor("", None, None), None),),
        )

    def image(self, reference: ImageReference, platform: Platform) -> Image:
        """A tarball has no names to search."""
        raise ImageError(f"{self._label} is not searched by name", "use cwl-userspace import")

    def layer(self, layer: Layer) -> Iterator[bytes]:
        """The bytes of the tar, not verified."""
        return iter(self._chunks)

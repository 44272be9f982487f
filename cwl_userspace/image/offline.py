"""What stands in the place of the network for users who want it left alone.

No module that can open a socket is imported from here before one is to be opened.
"""

from __future__ import annotations

from collections.abc import Iterator

from cwl_userspace.errors import Offline
from cwl_userspace.oci import Image, Layer, Platform
from cwl_userspace.reference import ImageReference

_WHY = "--offline, CWL_USERSPACE_OFFLINE or the setting offline"
_HOW = (
    "have it first: where there is a network with cwl-userspace prefetch or pull, from an archive"
    " with cwl-userspace load, or name an OCI layout that has it as a mirror (oci:DIR)"
)


class Closed:
    """The source that has no image: it stands in the place of all registries."""

    @property
    def label(self) -> str:
        """How messages name this source."""
        return "the network"

    def image(self, reference: ImageReference, platform: Platform) -> Image:
        """Raise Offline, which names the image and says how to get it."""
        raise Offline(
            f"no image {reference.familiar} in the store, and the network must not be asked"
            f" ({_WHY})",
            _HOW,
        )

    def layer(self, layer: Layer) -> Iterator[bytes]:
        """There is none."""
        raise AssertionError("a source without images has no layers")


def from_web(url: str, offline: bool) -> Iterator[bytes]:
    """The bytes behind a URL; raise Offline, before any of the network's modules is imported."""
    if offline:
        raise Offline(
            f"{url} is not fetched: the network must not be asked ({_WHY})", "have a file of it"
        )
    from cwl_userspace.image.download import from_url

    return from_url(url)

"""Pulls from the registry of a test, without waiting where a real client would."""

from __future__ import annotations

from typing import Any

from cwl_userspace.image.registry import Registry
from cwl_userspace.oci import Image, Platform
from cwl_userspace.reference import ImageReference
from tests.fake_registry import FakeRegistry

AMD64 = Platform("linux", "amd64")


class Client:
    """A Registry that asks a fake one, and the pauses that it would have made."""

    def __init__(self, fake: FakeRegistry, **options: Any) -> None:
        self.fake = fake
        self.pauses: list[float] = []
        options.setdefault("sleep", self.pauses.append)
        self.registry = Registry(options.pop("host", fake.authority), **options)

    def image(self, name: str = "tool:1", platform: Platform = AMD64) -> Image:
        reference = ImageReference.parse(f"{self.fake.authority}/{name}")
        return self.registry.image(reference, platform)

    def layers(self, image: Image) -> list[bytes]:
        return [b"".join(self.registry.layer(layer)) for layer in image.layers]

    def pull(self, name: str = "tool:1") -> list[bytes]:
        return self.layers(self.image(name))

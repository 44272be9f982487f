"""Images of a registry that lie, all the way into the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests import tars
from tests.command import Command
from tests.fake_registry import FakeRegistry

LAYER = tars.layer(tars.file("f", b"x"))


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def manifest(fake: FakeRegistry, change: dict[str, Any]) -> None:
    """An image whose only layer is described with changes."""
    fake.add("tool", "1", [LAYER])
    _, raw = fake.manifests["tool", "1"]
    document = json.loads(raw)
    document["layers"][0].update(change)
    fake.manifest("tool", "1", document)


def test_a_blob_that_is_always_damaged_is_refused(command: Command, fake: FakeRegistry) -> None:
    added = fake.add("tool", "1", [LAYER])
    raw = fake.blobs[added.layers[0]]
    fake.blobs[added.layers[0]] = raw[:-1] + bytes((raw[-1] ^ 1,))
    said = command.assert_refused(command("pull", "-q", f"{fake.authority}/tool:1"))
    assert added.layers[0] in said
    assert len(fake.asked("/blobs/")) < 12
    fake.blobs[added.layers[0]] = raw
    assert command("pull", "-q", f"{fake.authority}/tool:1").returncode == 0


def test_the_address_of_a_foreign_layer_is_never_asked(
    command: Command, fake: FakeRegistry, other: FakeRegistry
) -> None:
    """CVE-2020-15157: it could be anywhere, and was sent the registry's login."""
    kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    manifest(fake, {"mediaType": kind, "urls": [f"http://{other.authority}/evil"]})
    assert command("pull", "-q", f"{fake.authority}/tool:1").returncode == 0
    assert other.requests == []
    fake.blobs = {k: raw for k, raw in fake.blobs.items() if not raw.startswith(b"\x1f\x8b")}
    command("rmi", f"{fake.authority}/tool:1")
    command.assert_refused(command("pull", "-q", f"{fake.authority}/tool:1"))
    assert other.requests == []

"""An OCI image layout directory as a place that images come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cwl_userspace.errors import ContentMismatch, ImageError, ImageNotFound
from cwl_userspace.image.layout import Layout
from cwl_userspace.oci import DOCUMENT_LIMIT, Platform
from cwl_userspace.reference import ImageReference
from tests.fake_registry import Added, FakeRegistry, descriptor, sha256

AMD64 = Platform("linux", "amd64")
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


class Directory:
    """Writes a layout from what a fake registry holds."""

    def __init__(self, path: Path, fake: FakeRegistry) -> None:
        self.path = path
        self.fake = fake
        self.entries: list[dict[str, Any]] = []
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def add(self, name: str, layers: list[bytes], key: str = REF_NAME, **config: Any) -> Added:
        added = self.fake.add("tool", name, layers, config=config)
        self.list("tool", name, {key: name} if name else {})
        return added

    def list(self, repository: str, tag: str, annotations: dict[str, str], **more: Any) -> None:
        media_type, raw = self.fake.manifests[repository, tag]
        self.fake.blob(raw)
        self.entries.append(descriptor(media_type, raw, annotations=annotations, **more))

    def write(self) -> Layout:
        for _, raw in self.fake.manifests.values():
            self.fake.blob(raw)
        for digest, raw in self.fake.blobs.items():
            self.blob(digest).write_bytes(raw)
        self.index({"schemaVersion": 2, "manifests": self.entries})
        return Layout.directory(str(self.path))

    def index(self, document: Any) -> None:
        (self.path / "index.json").write_text(json.dumps(document))

    def blob(self, digest: str) -> Path:
        return self.path / "blobs/sha256" / digest.removeprefix("sha256:")


@pytest.fixture
def directory(tmp_path: Path, fake: FakeRegistry) -> Directory:
    return Directory(tmp_path / "layout", fake)


def image_of(layout: Layout, name: str) -> list[bytes]:
    image = layout.image(ImageReference.parse(name), AMD64)
    return [b"".join(layout.layer(layer)) for layer in image.layers]


@pytest.mark.parametrize("key", [REF_NAME, CONTAINERD_NAME])
@pytest.mark.parametrize("written", ["docker.io/library/debian:stable", "debian:stable"])
def test_an_image_is_found_by_its_full_and_its_familiar_name(
    directory: Directory, key: str, written: str
) -> None:
    directory.add("other:1", [b"other"])
    added = directory.add(written, [b"one", b"two"], key)
    layout = directory.write()
    for name in ("debian:stable", "library/debian:stable", "docker.io/debian:stable"):
        assert image_of(layout, name) == list(added.blobs)


def test_an_image_is_found_by_its_digest(directory: Directory) -> None:
    directory.add("other:1", [b"other"])
    added = directory.add("debian:stable", [b"one"])
    assert image_of(directory.write(), f"anything@{added.manifest}") == list(added.blobs)


def test_an_image_that_is_not_there_is_not_found_and_the_others_are_listed(
    directory: Directory,
) -> None:
    directory.add("debian:stable", [b"one"])
    directory.add("alpine:3", [b"two"])
    with pytest.raises(ImageNotFound, match="does not have debian:latest") as caught:
        directory.write().image(ImageReference.parse("debian"), AMD64)
    assert "alpine:3, debian:stable" in caught.value.hint


def test_an_index_below_the_index_gives_the_platform(directory: Directory) -> None:
    fake = directory.fake
    intel = fake.add("tool", "x", [b"intel"])
    arm = fake.add("tool", "y", [b"arm"], config={"architecture": "arm64"})
    fake.index("tool", "both", {"linux/arm64": arm.manifest, "linux/amd64": intel.manifest})
    directory.list("tool", "both", {REF_NAME: "tool:1"})
    assert image_of(directory.write(), "tool:1") == list(intel.blobs)


def test_of_entries_with_one_name_the_one_for_the_platform_is_taken(directory: Directory) -> None:
    fake = directory.fake
    intel, arm = fake.add("tool", "x", [b"intel"]), fake.add("tool", "y", [b"arm"])
    for tag, architecture in (("x", "amd64"), ("y", "arm64")):
        platform = {"os": "linux", "architecture": architecture}
        directory.list("tool", tag, {REF_NAME: "tool:1"}, platform=platform)
    layout = directory.write()
    assert image_of(layout, "tool:1") == list(intel.blobs)
    image = layout.image(ImageReference.parse("tool:1"), Platform("linux", "arm64"))
    assert str(image.manifest_digest) == arm.manifest


def test_an_entry_for_another_platform_is_refused(directory: Directory) -> None:
    directory.fake.add("tool", "x", [b"arm"])
    platform = {"os": "linux", "architecture": "arm64"}
    directory.list("tool", "x", {REF_NAME: "tool:1"}, platform=platform)
    with pytest.raises(ImageError, match="no image for linux/amd64"):
        image_of(directory.write(), "tool:1")


@pytest.mark.parametrize("which", ["manifest", "config"])
@pytest.mark.parametrize("damage", ["change", "cut"])
def test_a_damaged_document_is_a_mismatch(directory: Directory, which: str, damage: str) -> None:
    added = directory.add("tool:1", [b"one"])
    layout = directory.write()
    path = directory.blob(added.manifest if which == "manifest" else added.config)
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] if damage == "cut" else raw.replace(b"linux", b"lynux") + b" ")
    with pytest.raises(ContentMismatch):
        image_of(layout, "tool:1")


@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
def test_a_missing_blob_is_named(directory: Directory, which: str) -> None:
    added = directory.add("tool:1", [b"one"])
    layout = directory.write()
    digest = added.layers[0] if which == "layer" else getattr(added, which)
    directory.blob(digest).unlink()
    with pytest.raises(ImageNotFound, match=digest.removeprefix("sha256:")):
        image_of(layout, "tool:1")


@pytest.mark.parametrize(
    ("marker", "says"),
    [
        ('{"imageLayoutVersion": "2.0.0"}', "2.0.0"),
        ("{}", "None"),
        ("[]", "version"),
        ("{", "JSON"),
    ],
)
def test_a_directory_of_another_format_is_refused(
    directory: Directory, marker: str, says: str
) -> None:
    directory.add("tool:1", [b"one"])
    layout = directory.write()
    (directory.path / "oci-layout").write_text(marker)
    with pytest.raises(ImageError, match=says):
        image_of(layout, "tool:1")


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
def test_a_directory_that_is_no_layout_is_named(directory: Directory, name: str) -> None:
    layout = directory.write()
    (directory.path / name).unlink()
    with pytest.raises(ImageNotFound, match=f"cannot be read: No such file .*{name}"):
        image_of(layout, "tool:1")


def test_an_index_that_is_a_manifest_is_refused(directory: Directory) -> None:
    directory.add("tool:1", [b"one"])
    layout = directory.write()
    directory.index(json.loads(directory.fake.manifests["tool", "tool:1"][1]))
    with pytest.raises(ImageError, match="is not an index"):
        image_of(layout, "tool:1")


def test_a_document_that_is_too_large_is_not_read(directory: Directory) -> None:
    added = directory.add("tool:1", [b"one"])
    layout = directory.write()
    with directory.blob(added.manifest).open("ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(ImageError, match=f"at most {DOCUMENT_LIMIT}"):
        image_of(layout, "tool:1")


def test_a_layer_larger_than_a_chunk_arrives_whole(directory: Directory) -> None:
    raw = bytes(range(256)) * 20_000
    directory.fake.add("tool", "big", [raw], compression="")
    directory.list("tool", "big", {REF_NAME: "tool:1"})
    (blob,) = image_of(directory.write(), "tool:1")
    assert sha256(blob) == sha256(raw)


def test_the_label_names_the_directory(directory: Directory) -> None:
    assert directory.write().label == f"oci:{directory.path}"

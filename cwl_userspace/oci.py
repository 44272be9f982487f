"""Typed views of what registries and layouts hold: manifests, indexes, image configurations.

Sources: OCI image specification (descriptor.md, manifest.md, image-index.md, config.md) and
Docker's "Image Manifest V 2, Schema 2". Everything here reads hostile text, so each field is
checked once, on the way in.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ContentMismatch, ImageError

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCUMENT_TYPES = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX)

# The limit that containers/image sets for manifests and configurations, in bytes.
DOCUMENT_LIMIT = 4 << 20
_DEPTH_LIMIT = 100

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class Platform(NamedTuple):
    """An operating system and a processor, in the words of the Go language."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def host(cls) -> Platform:
        """The platform of this machine."""
        machine = os.uname().machine
        return cls("linux", _ARCHITECTURES.get(machine, machine))

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``os/architecture[/variant]``; raise ImageError for anything else.

        The kernel's name of a processor, such as x86_64, is as good as Go's.
        """
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise ImageError(f"invalid platform {text!r}", "expected for example linux/arm64")
        system, architecture, *variant = parts
        return cls(system, _ARCHITECTURES.get(architecture, architecture), *variant)

    def accepts(self, offered: Platform) -> bool:
        """True if an image for ``offered`` runs here; arm64 and arm64/v8 are the same."""
        mine, theirs = self._full(), offered._full()
        same = (mine.os, mine.architecture) == (theirs.os, theirs.architecture)
        return same and (not mine.variant or not theirs.variant or mine.variant == theirs.variant)

    def same(self, offered: Platform) -> bool:
        """True if the variant is the same, too."""
        return self._full() == offered._full()

    def _full(self) -> Platform:
        if self.architecture == "arm64" and not self.variant:
            return Platform(self.os, self.architecture, "v8")
        return self

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(NamedTuple):
    """Where a blob is and what it must be. An archive may know neither digest nor size."""

    media_type: str
    digest: Digest | None
    size: int | None
    platform: Platform | None = None
    annotations: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def parse(cls, value: object, what: str) -> Descriptor:
        """Read one descriptor; raise ImageError naming ``what`` it should have described."""
        entry = _object(value, what)
        size = entry.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ContentMismatch(f"{what} has the size {size!r}", "expected a number of bytes")
        annotations = entry.get("annotations") or {}
        return cls(
            media_type=_text(entry.get("mediaType", ""), f"the media type of {what}"),
            digest=Digest.parse(entry.get("digest")),
            size=size,
            platform=_platform(entry.get("platform")),
            annotations={str(k): str(v) for k, v in _object(annotations, what).items()},
        )


class Manifest(NamedTuple):
    """One image: its configuration and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


class Index(NamedTuple):
    """Several images under one name, usually one a platform."""

    manifests: tuple[Descriptor, ...]


class Layer(NamedTuple):
    """A layer of an image. A rootfs tar has no DiffID until it has been read."""

    blob: Descriptor
    diff_id: Digest | None


class Image(NamedTuple):
    """An image that a source offers: verified documents, layers not yet fetched."""

    config: bytes
    layers: tuple[Layer, ...]
    manifest: bytes = b""
    manifest_digest: Digest | None = None
    # The indexes that led to the manifest, the one that bears the name first.
    indexes: tuple[bytes, ...] = ()


def load_json(raw: bytes, what: str) -> Any:
    """Parse JSON of bounded size and depth; raise ImageError naming ``what``."""
    if len(raw) > DOCUMENT_LIMIT:
        raise ImageError(f"{what} has {len(raw)} bytes", f"expected at most {DOCUMENT_LIMIT}")
    try:
        document = json.loads(raw)
        _check_depth(document)
        # A lone half of a surrogate pair is JSON, but no text that a program could be given.
        json.dumps(document, ensure_ascii=False).encode()
        return document
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ImageError(f"{what} is not JSON: {reason}", "the image is damaged") from None


def _check_depth(document: object) -> None:
    """Raise RecursionError for what some later step could only show or write by running into it.

    Python's limit is on frames, and other functions need more of them for each level.
    """
    level = [document]
    for _ in range(_DEPTH_LIMIT):
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise RecursionError


def parse_document(raw: bytes, what: str) -> Manifest | Index:
    """Read a manifest or an index; raise ImageError for every other kind, naming it.

    A document with both ``layers`` and ``manifests`` is refused (CVE-2021-41190).
    """
    document = _object(load_json(raw, what), what)
    if document.get("schemaVersion") == 1 or "fsLayers" in document:
        raise ImageError(
            f"{what} is a schema 1 manifest", "push the image again with a tool of this decade"
        )
    if ("layers" in document or "config" in document) and "manifests" in document:
        raise ImageError(f"{what} is both a manifest and an index", "the image is not trustworthy")
    if "manifests" in document:
        entries = _array(document["manifests"], f"the manifests of {what}")
        return Index(tuple(Descriptor.parse(entry, f"an entry of {what}") for entry in entries))
    if "layers" not in document or "config" not in document:
        raise ImageError(f"{what} is neither an image manifest nor an index", "not an image")
    config = Descriptor.parse(document["config"], f"the configuration of {what}")
    if config.media_type not in (OCI_CONFIG, DOCKER_CONFIG, ""):
        raise ImageError(
            f"{what} is not a container image but of type {config.media_type!r}",
            "an artifact such as a chart or a signature cannot be run",
        )
    layers = _array(document["layers"], f"the layers of {what}")
    return Manifest(
        config, tuple(Descriptor.parse(entry, f"a layer of {what}") for entry in layers)
    )


def choose(index: Index, wanted: Platform, what: str) -> Descriptor:
    """The entry of an index for a platform; raise ImageError that lists those on offer."""
    offered = [entry for entry in index.manifests if not _is_attestation(entry)]
    exact = [e for e in offered if e.platform and wanted.accepts(e.platform)]
    if exact:
        # An entry for amd64/v3 runs on some amd64 only: the one without a variant comes first.
        return min(exact, key=lambda e: e.platform is None or not wanted.same(e.platform))
    unmarked = [entry for entry in offered if entry.platform is None]
    if len(unmarked) == 1 and len(offered) == 1:
        return unmarked[0]
    names = ", ".join(sorted({str(e.platform) for e in offered if e.platform})) or "nothing"
    raise ImageError(f"{what} has no image for {wanted}", f"it offers {names}")


def pair_layers(manifest: Manifest, config: bytes, what: str) -> tuple[Layer, ...]:
    """Join each layer's blob with its DiffID from the configuration (config.md, "rootfs")."""
    diff_ids = tuple(diff_ids_of(config, what))
    if len(diff_ids) != len(manifest.layers):
        raise ContentMismatch(
            f"{what} has {len(manifest.layers)} layers but {len(diff_ids)} DiffIDs",
            "the image is damaged",
        )
    return tuple(Layer(blob, diff) for blob, diff in zip(manifest.layers, diff_ids, strict=True))


def diff_ids_of(config: bytes, what: str) -> Iterator[Digest]:
    """The digests of the uncompressed layers that an image configuration states."""
    what = f"the configuration of {what}"
    document = _object(load_json(config, what), what)
    rootfs = _object(document.get("rootfs"), f"the rootfs of {what}")
    for text in _array(rootfs.get("diff_ids", []), f"the DiffIDs of {what}"):
        yield Digest.parse(text)


def _is_attestation(entry: Descriptor) -> bool:
    """BuildKit adds entries for ``unknown/unknown`` that hold provenance, not an image."""
    kind = entry.annotations.get("vnd.docker.reference.type", "")
    unknown = entry.platform is not None and entry.platform.os == "unknown"
    return unknown or kind == "attestation-manifest"


def _platform(value: object) -> Platform | None:
    if value is None:
        return None
    entry = _object(value, "a platform")
    return Platform(
        str(entry.get("os", "")), str(entry.get("architecture", "")), str(entry.get("variant", ""))
    )


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ImageError(f"{what} is {value!r:.60}", "expected a JSON object: the image is damaged")
    return value


def _array(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ImageError(f"{what} is {value!r:.60}", "expected a JSON array: the image is damaged")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ImageError(f"{what} is {value!r:.60}", "expected text: the image is damaged")
    return value


def chain_id(diff_ids: Sequence[Digest]) -> Digest:
    """The ChainID of layers, lowest first (config.md, "Layer ChainID")."""
    if not diff_ids:
        return Digest(hashlib.sha256(b"").hexdigest())
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = Digest(hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest())
    return chain

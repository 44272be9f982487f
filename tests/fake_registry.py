"""A registry in this process, on loopback, with the faults that registries have.

A test puts images in with ``add``, sets fields of ``faults``, and looks at ``requests``.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import zstandard

from tests.fake_faults import FOR_EVER
from tests.fake_http import Recorded, State, basic, sha256

__all__ = ["FOR_EVER", "INDEX", "FakeRegistry", "basic", "descriptor", "sha256"]

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
INDEX = f"{OCI}.index.v1+json"
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda raw: raw,
    "gzip": lambda raw: gzip.compress(raw, mtime=0),
    "zstd": lambda raw: zstandard.ZstdCompressor().compress(raw),
}


class Added(NamedTuple):
    """What ``add`` made: digests and, for the layers, the bytes that are served."""

    manifest: str
    config: str
    layers: tuple[str, ...]
    diff_ids: tuple[str, ...]
    blobs: tuple[bytes, ...]


def descriptor(media_type: str, raw: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(raw), "size": len(raw), **more}


class FakeRegistry(State):
    """A context manager; serves while it is open."""

    def __init__(self, certificate: tuple[str, str] | None = None, port: int = 0) -> None:
        super().__init__(certificate, port)
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> FakeRegistry:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()
        self.server.hang_up()

    def asked(self, part: str) -> list[Recorded]:
        """The requests whose path contains ``part``."""
        return [request for request in self.requests if part in request.path]

    def blob(self, raw: bytes) -> str:
        self.blobs[sha256(raw)] = raw
        return sha256(raw)

    def manifest(self, name: str, tag: str, document: Any, media_type: str = "") -> str:
        """Serve a document (bytes, or something to write as JSON) under a tag and its digest."""
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        kind = media_type or f"{OCI}.manifest.v1+json"
        for selector in (tag, sha256(raw)):
            self.manifests[name, selector] = (kind, raw)
        return sha256(raw)

    def add(
        self,
        name: str,
        tag: str,
        layers: Sequence[bytes] = (b"a tar\n",),
        *,
        config: Mapping[str, Any] | None = None,
        compression: str = "gzip",
        docker: bool = False,
    ) -> Added:
        """Serve an image whose layers are these bytes, compressed."""
        diff_ids = tuple(sha256(raw) for raw in layers)
        document = {
            "os": "linux",
            "architecture": "amd64",
            **(config or {}),
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        }
        blobs = tuple(_COMPRESS[compression](raw) for raw in layers)
        suffix = f"+{compression}" if compression else ""
        layer_type = f"{OCI}.layer.v1.tar{suffix}"
        types = (f"{OCI}.manifest.v1+json", f"{OCI}.config.v1+json")
        if docker:
            layer_type = f"{DOCKER}.image.rootfs.diff.tar.gzip"
            types = (f"{DOCKER}.distribution.manifest.v2+json", f"{DOCKER}.container.image.v1+json")
        raw_config = json.dumps(document).encode()
        self.blob(raw_config)
        manifest = {
            "schemaVersion": 2,
            "mediaType": types[0],
            "config": descriptor(types[1], raw_config),
            "layers": [descriptor(layer_type, blob) for blob in blobs],
        }
        digest = self.manifest(name, tag, manifest, types[0])
        return Added(digest, sha256(raw_config), tuple(map(self.blob, blobs)), diff_ids, blobs)

    def index(self, name: str, tag: str, entries: Mapping[str, str], attested: bool = True) -> str:
        """Serve an index: manifest digests by platform, and an attestation as BuildKit adds it."""
        listed = []
        for platform, digest in entries.items():
            os, architecture, *variant = platform.split("/")
            kind, raw = self.manifests[name, digest]
            about = {"os": os, "architecture": architecture}
            about |= {"variant": variant[0]} if variant else {}
            listed.append(descriptor(kind, raw, platform=about))
        if attested:
            unknown = {"os": "unknown", "architecture": "unknown"}
            notes = {"vnd.docker.reference.type": "attestation-manifest"}
            raw = b'{"schemaVersion": 2, "provenance": "none"}'
            kind = f"{OCI}.manifest.v1+json"
            listed.insert(0, descriptor(kind, raw, platform=unknown, annotations=notes))
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}
        return self.manifest(name, tag, document, INDEX)

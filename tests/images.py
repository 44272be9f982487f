"""Images as files, in every form that ``load`` takes, right or deliberately wrong."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cwl_userspace.oci import Platform
from tests import tars

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
NAME = "test:1"
_REF_NAME = "org.opencontainers.image.ref.name"

Json = dict[str, Any]


def plain(data: bytes) -> bytes:
    return data


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def platform_json(platform: Platform | None = None) -> Json:
    chosen = platform or Platform.host()
    return {"os": chosen.os, "architecture": chosen.architecture}


def config_json(diff_ids: Sequence[str], platform: Platform | None = None, **more: Any) -> Json:
    rootfs = {"type": "layers", "diff_ids": list(diff_ids)}
    return {**platform_json(platform), "config": {}, "rootfs": rootfs, **more}


class Layout:
    """An OCI image layout under construction; a test may change whatever it likes before."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.index: Json = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}

    def add(self, data: bytes | Json | list[Any], media_type: str, **more: Any) -> Json:
        """Put a blob in and return its descriptor."""
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.blobs[sha256(raw)] = raw
        return {"mediaType": media_type, "digest": sha256(raw), "size": len(raw), **more}

    def manifest(
        self,
        layers: Sequence[bytes],
        compress: Callable[[bytes], bytes] = tars.gzipped,
        platform: Platform | None = None,
        config: Json | bytes | None = None,
    ) -> Json:
        """The manifest of an image with these layers (tars); its blobs are put in."""
        right = config_json([sha256(layer) for layer in layers], platform)
        return {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.add(right if config is None else config, CONFIG),
            "layers": [self.add(compress(layer), LAYER) for layer in layers],
        }

    def entry(self, document: bytes | Json | list[Any], name: str = NAME, **more: Any) -> Json:
        """List a manifest or an index under a name and return its descriptor."""
        media_type = MANIFEST
        if isinstance(document, dict):
            media_type = document.get("mediaType", MANIFEST)
        annotations = {"annotations": {_REF_NAME: name}} if name else {}
        descriptor = self.add(document, media_type, **annotations, **more)
        self.index["manifests"].append(descriptor)
        return descriptor

    def files(self) -> dict[str, bytes]:
        files = {
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
            "index.json": json.dumps(self.index).encode(),
        }
        for digest, raw in self.blobs.items():
            files[f"blobs/{digest.replace(':', '/')}"] = raw
        return files

    def directory(self, path: Path) -> Path:
        for name, raw in self.files().items():
            place = path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(raw)
        return path

    def tar(self, path: Path) -> Path:
        members = [tars.file(name, raw) for name, raw in self.files().items()]
        path.write_bytes(tars.layer(*members))
        return path


def oci_directory(
    path: Path,
    layers: Sequence[bytes],
    compress: Callable[[bytes], bytes] = tars.gzipped,
    name: str = NAME,
) -> Path:
    layout = Layout()
    layout.entry(layout.manifest(layers, compress), name)
    return layout.directory(path)


def oci_tar(path: Path, layers: Sequence[bytes], name: str = NAME) -> Path:
    layout = Layout()
    layout.entry(layout.manifest(layers), name)
    return layout.tar(path)


def docker_classic(layers: Sequence[bytes], prefix: str = "", **entry: Any) -> bytes:
    """What ``docker save`` wrote for ten years; a layer that comes again is a symbolic link."""
    members, names, seen = [], [], dict[bytes, str]()
    for position, layer in enumerate(layers):
        identifier = hashlib.sha256(b"%d" % position + layer).hexdigest()
        name = f"{identifier}/layer.tar"
        members += [
            tars.directory(f"{prefix}{identifier}/"),
            tars.file(f"{prefix}{identifier}/VERSION", b"1.0"),
        ]
        if layer in seen:
            members.append(tars.symlink(f"{prefix}{name}", f"../{seen[layer]}"))
        else:
            members.append(tars.file(f"{prefix}{name}", layer))
            seen[layer] = name
        names.append(name)
    config = json.dumps(config_json([sha256(layer) for layer in layers])).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    listed = [{"Config": config_name, "RepoTags": [NAME], "Layers": names, **entry}]
    members += [
        tars.file(f"{prefix}{config_name}", config),
        tars.file(f"{prefix}manifest.json", json.dumps(listed).encode()),
        tars.file(f"{prefix}repositories", b'{"test": {"1": "%s"}}' % names[-1][:64].encode()),
    ]
    return tars.layer(*members)


def docker_flat(layers: Sequence[bytes], manifest: bytes | None = None, **entry: Any) -> bytes:
    """Layers by digest at the top of the tar, as skopeo and podman write them."""
    names = [f"{hashlib.sha256(layer).hexdigest()}.tar" for layer in layers]
    config = json.dumps(config_json([sha256(layer) for layer in layers])).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    listed = [{"Config": config_name, "RepoTags": [NAME], "Layers": names, **entry}]
    return tars.layer(
        *(tars.file(name, layer) for name, layer in zip(names, layers, strict=True)),
        tars.file(config_name, config),
        tars.file("manifest.json", json.dumps(listed).encode() if manifest is None else manifest),
    )


def docker_hybrid(layers: Sequence[bytes]) -> bytes:
    """Since Docker 25: an OCI layout and a ``manifest.json`` that points into it."""
    layout = Layout()
    manifest = layout.manifest(layers, plain)
    layout.entry(manifest, name="1")

    def blob(descriptor: Json) -> str:
        return f"blobs/{descriptor['digest'].replace(':', '/')}"

    listed = [
        {
            "Config": blob(manifest["config"]),
            "RepoTags": [NAME],
            "Layers": [blob(layer) for layer in manifest["layers"]],
            "LayerSources": {layer["digest"]: layer for layer in manifest["layers"]},
        }
    ]
    members = [
        tars.directory("blobs/"),
        tars.directory("blobs/sha256/"),
        *(tars.file(name, raw) for name, raw in layout.files().items()),
        tars.file("manifest.json", json.dumps(listed).encode()),
    ]
    return tars.layer(*members)


def compressed(path: Path, archive: bytes) -> Path:
    path.write_bytes(gzip.compress(archive, 1))
    return path

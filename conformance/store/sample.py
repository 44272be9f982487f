"""An image to pull: some layers, with large files that take long to fetch and many small ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from pathlib import Path
from typing import Any

from cwl_userspace.oci import Platform

_OCI = "application/vnd.oci.image"


def write(place: Path, layers: int, small: int, large: int) -> None:
    """Write an OCI layout with one image, ``sample``: each layer has ``small`` files of some
    bytes and one of ``large`` bytes, which no program can compress.
    """
    blobs = place / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    tars = [_layer(number, small, large) for number in range(layers)]
    host = Platform.host()
    diff_ids = [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]
    config = {
        "os": host.os,
        "architecture": host.architecture,
        "config": {"Cmd": ["true"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    kind = f"{_OCI}.layer.v1.tar+gzip"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": put(json.dumps(config).encode(), f"{_OCI}.config.v1+json"),
        "layers": [put(gzip.compress(tar, 1, mtime=0), kind) for tar in tars],
    }
    entry = put(json.dumps(manifest).encode(), f"{_OCI}.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "sample"}
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _layer(number: int, small: int, large: int) -> bytes:
    """The large file comes first, so that files are still written when all has been fetched."""
    chance = random.Random(number)
    data = io.BytesIO()
    with tarfile.TarFile(fileobj=data, mode="w") as tar:
        _add(tar, f"large-{number}", chance.randbytes(large), 0o644)
        for index in range(small):
            if index % 50 == 0:
                directory = tarfile.TarInfo(f"d{number}-{index}")
                directory.type, directory.mode = tarfile.DIRTYPE, 0o555 if index % 100 else 0o755
                tar.addfile(directory)
            mode = (0o644, 0o755, 0o400)[index % 3]
            _add(tar, f"d{number}-{index - index % 50}/f{index}", b"%d" % index * 40, mode)
    return data.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), mode, 1_000_000_000
    tar.addfile(member, io.BytesIO(content))

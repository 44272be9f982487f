"""Writes an OCI image layout directory that other processes may read and extend meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from conformance.problem import Problem

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
REF_NAME = "org.opencontainers.image.ref.name"

# A writer that has been silent for so long was killed.
_ABANDONED = 24 * 3600


class Blob(NamedTuple):
    digest: str
    size: int


class BlobWriter:
    """A blob on its way in: hashed while it is written, known to nobody before it is whole."""

    def __init__(self, partial: Path) -> None:
        self._hash = hashlib.sha256()
        self._size = 0
        # Not tempfile: its 0600 would hide the blob from those who share the directory.
        self._file = open(partial, "xb")  # noqa: SIM115

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self._size += len(data)
        return self._file.write(data)

    @property
    def blob(self) -> Blob:
        """What has been written so far."""
        return Blob(f"sha256:{self._hash.hexdigest()}", self._size)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Layout:
    """An OCI image layout at a path; all that it writes appears by rename."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self) -> None:
        try:
            (self.root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Problem(
                f"cannot make the image directory '{self.root}': {error.strerror}",
                "give --to a directory that you may write to",
            ) from error
        if not (self.root / "oci-layout").exists():
            self._replace("oci-layout", {"imageLayoutVersion": "1.0.0"})
        for partial in self.root.glob(".partial-*"):
            with contextlib.suppress(OSError):
                if time.time() - partial.stat().st_mtime > _ABANDONED:
                    partial.unlink()

    def find(self, name: str) -> str | None:
        """The digest of the manifest that bears this name, if its blob is here too."""
        for entry in self._index()["manifests"]:
            if entry.get("annotations", {}).get(REF_NAME) == name:
                digest = str(entry["digest"])
                return digest if self.blob(digest).exists() else None
        return None

    def blob(self, digest: str) -> Path:
        algorithm, _, encoded = digest.partition(":")
        return self.root / "blobs" / algorithm / encoded

    @contextlib.contextmanager
    def writing(self) -> Iterator[BlobWriter]:
        """Publishes the blob when the body ends well, removes it when it does not."""
        partial = self._aside("blob")
        writer = BlobWriter(partial)
        try:
            yield writer
            writer.flush()
            partial.replace(self.blob(writer.blob.digest))
        finally:
            writer.close()
            partial.unlink(missing_ok=True)

    def add(self, document: dict[str, Any]) -> Blob:
        with self.writing() as writer:
            writer.write(_canonical(document))
        return writer.blob

    def publish(self, name: str, manifest: Blob, platform: dict[str, str]) -> None:
        """Lets the name point at the manifest; other names stay, whoever adds them meanwhile."""
        entry = {
            "mediaType": MANIFEST_TYPE,
            "digest": manifest.digest,
            "size": manifest.size,
            "platform": platform,
            "annotations": {REF_NAME: name},
        }
        with self._locked():
            index = self._index()
            others = [
                other
                for other in index["manifests"]
                if other.get("annotations", {}).get(REF_NAME) != name
            ]
            index["manifests"] = sorted(
                [*others, entry], key=lambda one: str(one.get("annotations", {}).get(REF_NAME))
            )
            self._replace("index.json", index)

    def alias(self, name: str, original: str) -> None:
        """Lets the name point at what another one points at."""
        for entry in self._index()["manifests"]:
            if entry.get("annotations", {}).get(REF_NAME) == original:
                manifest = Blob(str(entry["digest"]), int(entry["size"]))
                self.publish(name, manifest, dict(entry["platform"]))
                return
        raise Problem(f"no image '{original}' in '{self.root}'")

    def _index(self) -> dict[str, Any]:
        try:
            text = (self.root / "index.json").read_text()
        except FileNotFoundError:
            return {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}
        try:
            index: dict[str, Any] = json.loads(text)
            index["manifests"] = list(index["manifests"])
        except (ValueError, KeyError, TypeError) as error:
            raise Problem(
                f"'{self.root / 'index.json'}' is not an OCI image index: {error}",
                "give --to a new directory, or one that an earlier call made",
            ) from error
        return index

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # Two builders that replace the index at once would each lose the other's image.
        with open(self.root / ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _replace(self, name: str, document: dict[str, Any]) -> None:
        aside = self._aside(name)
        aside.write_bytes(_canonical(document))
        aside.replace(self.root / name)

    def _aside(self, name: str) -> Path:
        return self.root / f".partial-{name}-{os.getpid()}-{secrets.token_hex(4)}"


def _canonical(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()

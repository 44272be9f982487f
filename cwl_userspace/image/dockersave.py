"""Write images as ``docker save`` does: what ``docker load``, skopeo and our own ``load`` read.

The store keeps no layers, so each image gets one layer, its whole tree, and a configuration that
says so. Nothing is held in memory, and the same images give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cwl_userspace.image import tar
from cwl_userspace.image.stream import Checked
from cwl_userspace.image.tarwriter import Writer
from cwl_userspace.image.treetar import tree_bytes, tree_size
from cwl_userspace.reference import ImageReference

_MODE = 0o644


class Saved(NamedTuple):
    """An image to write; ``directory`` is the name of its layer's place in the archive."""

    directory: str
    rootfs: str
    config: dict[str, Any]
    names: Sequence[ImageReference]


def save(images: Sequence[Saved], write: Callable[[bytes], object]) -> None:
    """Hand the bytes of an archive of images to ``write``; raise OSError or StoreError."""
    archive = Writer(write)
    manifest: list[dict[str, Any]] = []
    repositories: dict[str, dict[str, str]] = {}
    layers: dict[str, str] = {}
    for image in images:
        if image.directory not in layers:
            layers[image.directory] = _layer(archive, image)
        config = _config(image.config, layers[image.directory])
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        if not any(entry["Config"] == name for entry in manifest):
            archive.file(name.encode(), config, _MODE, 0)
        manifest.append(
            {
                "Config": name,
                "RepoTags": [one.familiar for one in image.names] or None,
                "Layers": [f"{image.directory}/layer.tar"],
            }
        )
        for one in image.names:
            repository, _, tag = one.familiar.rpartition(":")
            repositories.setdefault(repository, {})[tag] = image.directory
    archive.file(b"manifest.json", json.dumps(manifest).encode(), _MODE, 0)
    if repositories:
        archive.file(b"repositories", json.dumps(repositories).encode(), _MODE, 0)
    archive.finish()


def _config(config: dict[str, Any], diff_id: str) -> bytes:
    """The configuration for one layer; of its history that which was a layer is one entry."""
    history = [{"created_by": "cwl-userspace save", "comment": "all layers as one"}]
    history += [entry for entry in config.get("history") or () if entry.get("empty_layer")]
    if config.get("created"):
        history[0]["created"] = config["created"]
    rootfs = {"type": "layers", "diff_ids": [diff_id]}
    return json.dumps({**config, "history": history, "rootfs": rootfs}, sort_keys=True).encode()


def _layer(archive: Writer, image: Saved) -> str:
    """Write a tree as one layer; return its digest. Two walks: a member's size comes before it."""
    size = tree_size(image.rootfs)
    layer = Checked(tree_bytes(image.rootfs), None, size, f"the tree {image.rootfs}")
    archive.directory(image.directory.encode(), 0o755, 0)
    archive.file(f"{image.directory}/VERSION".encode(), b"1.0", _MODE, 0)
    name = f"{image.directory}/layer.tar".encode()
    archive.entry(tar.Entry(tar.REGULAR, name, b"", _MODE, size, 0), layer)
    return str(layer.digest)

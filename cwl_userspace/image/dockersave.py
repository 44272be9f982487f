"""Write images as ``docker save`` does: what ``docker load``, skopeo and our own ``load`` read.

Where the store has kept the layers they are written as they were, and the image keeps its id. Else
it gets one layer, its whole tree, and a configuration that says so. Nothing is held in memory, and
the same images give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from cwl_userspace.image.saving import Saved, TarSink, config_of_one_layer, file_chunks
from cwl_userspace.image.stream import Checked, decompressed
from cwl_userspace.image.treetar import tree_bytes, tree_size
from cwl_userspace.oci import Layer


def save(images: Sequence[Saved], write: Callable[[bytes], object]) -> None:
    """Hand the bytes of an archive of images to ``write``; raise OSError or StoreError."""
    archive = TarSink(write)
    manifest: list[dict[str, Any]] = []
    repositories: dict[str, dict[str, str]] = {}
    layers: dict[str, str] = {}
    for image in images:
        if image.original is not None:
            directories = [_original(archive, layer, path) for layer, path in image.original.layers]
            config = image.original.config
        else:
            if image.tree not in layers:
                layers[image.tree] = _tree(archive, image)
            directories = [image.tree]
            config = config_of_one_layer(image.config, layers[image.tree])
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        if not any(entry["Config"] == name for entry in manifest):
            archive.document(name, config)
        manifest.append(
            {
                "Config": name,
                "RepoTags": [one.familiar for one in image.names] or None,
                "Layers": [f"{directory}/layer.tar" for directory in directories],
            }
        )
        for one in image.names:
            repository, _, tag = one.familiar.rpartition(":")
            repositories.setdefault(repository, {})[tag] = (directories or [image.tree])[-1]
    archive.document("manifest.json", json.dumps(manifest).encode())
    if repositories:
        archive.document("repositories", json.dumps(repositories).encode())
    archive.finish()


def _tree(archive: TarSink, image: Saved) -> str:
    """Write a tree as one layer; return its digest. Two walks: a member's size comes before it."""
    size = tree_size(image.rootfs)
    layer = Checked(tree_bytes(image.rootfs), None, size, f"the tree {image.rootfs}")
    _put(archive, image.tree, size, layer)
    return str(layer.digest)


def _original(archive: TarSink, layer: Layer, path: str) -> str:
    """Write a layer that was kept, unpacked, unless another image has brought it already."""
    assert layer.diff_id is not None
    if not archive.has(f"{layer.diff_id.hex}/layer.tar"):
        what = f"the layer {layer.blob.digest}"
        size = sum(map(len, decompressed(file_chunks(path), what)))
        plain = decompressed(file_chunks(path), what)
        _put(archive, layer.diff_id.hex, size, Checked(plain, layer.diff_id, size, what))
    return layer.diff_id.hex


def _put(archive: TarSink, directory: str, size: int, content: Checked) -> None:
    archive.document(f"{directory}/VERSION", b"1.0")
    archive.put(f"{directory}/layer.tar", size, content)

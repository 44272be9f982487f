"""Write images as an OCI layout (OCI image specification, image-layout.md): a tar or a directory.

Where the store has kept the layers, manifest and layers are written as they were fetched, and the
image keeps its digest. Else it gets one layer, its whole tree, and a manifest that says so.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from cwl_userspace.digest import Digest
from cwl_userspace.image.layout import CONTAINERD_NAME, MARKER, REF_NAME
from cwl_userspace.image.saving import Saved, Sink, config_of_one_layer, file_chunks
from cwl_userspace.image.stream import Checked
from cwl_userspace.image.treetar import tree_bytes
from cwl_userspace.oci import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, load_json

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


class Layout:
    """An OCI layout that is written: ``add`` each image, then ``finish``."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._blobs: set[str] = set()
        self._trees: dict[str, tuple[Digest, int]] = {}
        self._entries: list[dict[str, Any]] = []
        sink.document(MARKER, b'{"imageLayoutVersion": "1.0.0"}')

    def add(self, image: Saved) -> None:
        """Write one image; raise OSError, StoreError, or ContentMismatch for a damaged layer."""
        manifest = self._original(image) if image.original is not None else self._flat(image)
        document = load_json(manifest, "the manifest")
        entry = self._document(manifest, str(document.get("mediaType") or OCI_MANIFEST))
        entry["platform"] = {
            key: image.config[key]
            for key in ("architecture", "os", "variant")
            if image.config.get(key)
        }
        for name in image.names:
            names = {REF_NAME: name.familiar, CONTAINERD_NAME: str(name)}
            self._entries.append({**entry, "annotations": names})
        if not image.names:
            self._entries.append(entry)

    def finish(self) -> None:
        """Write the index of all that was added."""
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self._entries}
        self._sink.document("index.json", _json(index))

    def _original(self, image: Saved) -> bytes:
        assert image.original is not None
        for layer, path in image.original.layers:
            blob = layer.blob
            assert blob.digest is not None and blob.size is not None
            content = Checked(file_chunks(path), blob.digest, blob.size, f"the layer {blob.digest}")
            self._blob(blob.digest, blob.size, content)
        self._document(image.original.config, "")
        return image.original.manifest

    def _flat(self, image: Saved) -> bytes:
        digest, size = self._tree(image)
        config = config_of_one_layer(image.config, str(digest))
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self._document(config, OCI_CONFIG),
            "layers": [{"mediaType": OCI_LAYER, "digest": str(digest), "size": size}],
        }
        return _json(manifest)

    def _tree(self, image: Saved) -> tuple[Digest, int]:
        """Write a tree as one layer. It is read twice: its digest is the name of its file."""
        if image.tree not in self._trees:
            what = f"the tree {image.rootfs}"
            first = Checked(tree_bytes(image.rootfs), None, None, what)
            for _ in first:
                pass
            self._trees[image.tree] = first.digest, first.length
            again = Checked(tree_bytes(image.rootfs), first.digest, first.length, what)
            self._blob(first.digest, first.length, again)
        return self._trees[image.tree]

    def _document(self, content: bytes, media_type: str) -> dict[str, Any]:
        """Write a small blob; return its descriptor."""
        digest = Digest(hashlib.sha256(content).hexdigest())
        self._blob(digest, len(content), Checked([content], digest, len(content), "a document"))
        return {"mediaType": media_type, "digest": str(digest), "size": len(content)}

    def _blob(self, digest: Digest, size: int, content: Checked) -> None:
        if digest.hex not in self._blobs:
            self._blobs.add(digest.hex)
            self._sink.put(f"blobs/sha256/{digest.hex}", size, content)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()

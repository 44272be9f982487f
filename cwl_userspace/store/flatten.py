"""Flatten the layers of an image into one tree of the store, and publish it.

A layer is fetched, verified, inflated and verified again by threads beside the one that writes
files, while the next one is already on its way.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from cwl_userspace.digest import Digest
from cwl_userspace.image import tar
from cwl_userspace.image.ahead import Ahead
from cwl_userspace.image.layers import Tree
from cwl_userspace.image.source import Source
from cwl_userspace.image.stream import Checked, decompressed
from cwl_userspace.oci import Image, Layer
from cwl_userspace.store.store import Store
from cwl_userspace.store.workspace import workspace

Report = Callable[[str], None]


def chain_id(diff_ids: Sequence[Digest]) -> Digest:
    """The ChainID of layers, lowest first (config.md, "Layer ChainID")."""
    if not diff_ids:
        return Digest(hashlib.sha256(b"").hexdigest())
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = Digest(hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest())
    return chain


def flatten(
    store: Store, image: Image, source: Source, report: Report, whiteouts: bool
) -> list[Digest]:
    """Flatten the layers into a private tree and publish it; the DiffIDs that were found."""
    with workspace(store) as private:
        rootfs = os.path.join(private, "rootfs")
        os.mkdir(rootfs, 0o755)
        tree = Tree(rootfs)
        try:
            diff_ids = _apply(tree, image, source, report, whiteouts)
            tree.finish()
        except OSError as error:
            tree.close()
            raise store.failure(error, "unpack a layer") from None
        except BaseException:
            tree.close()
            raise
        facts = {
            "files": tree.files,
            "bytes": tree.bytes,
            "dropped_devices": tree.dropped_devices,
            "dropped_setuid": tree.dropped_setuid,
        }
        publish(store, private, diff_ids, facts)
        return diff_ids


def publish(
    store: Store, private: str, diff_ids: Sequence[Digest], facts: Mapping[str, object]
) -> None:
    """Rename a directory that holds a finished ``rootfs``, and what is known of it, into place."""
    name = os.path.relpath(private, store.path)
    stated = {"diff_ids": [str(diff_id) for diff_id in diff_ids], **facts}
    store.write_file(f"{name}/tree.json", json.dumps(stated))
    _flush(private)  # rootfs itself may be closed to us by its mode
    store.publish(private, f"trees/{chain_id(diff_ids).hex}")


def _apply(
    tree: Tree, image: Image, source: Source, report: Report, whiteouts: bool
) -> list[Digest]:
    """Apply each layer while the next is already on its way."""
    found = []
    running: list[tuple[str, Checked, Iterator[bytes]]] = []
    remaining = iter(image.layers)
    for position in range(len(image.layers)):
        while len(running) < 2 and (layer := next(remaining, None)) is not None:
            running.append(_pipeline(source, layer))
        what, plain, chunks = running.pop(0)
        report(f"layer {position + 1} of {len(image.layers)}")
        try:
            tree.apply(tar.Bytes(chunks, what), whiteouts)
        except BaseException:
            for _, _, waiting in running:
                waiting.close()  # type: ignore[attr-defined]
            raise
        found.append(plain.digest)
    return found


def _pipeline(source: Source, layer: Layer) -> tuple[str, Checked, Iterator[bytes]]:
    """Fetch, verify, inflate and verify again, in two threads beside the one that writes files."""
    blob = layer.blob
    what = f"the layer {blob.digest or layer.diff_id or 'of ' + source.label}"
    fetched = Ahead(Checked(source.layer(layer), blob.digest, blob.size, what))
    plain = Checked(Ahead(decompressed(fetched, what)), layer.diff_id, None, f"{what}, unpacked,")
    return what, plain, Ahead(plain)


def _flush(path: str) -> None:
    """Have the file system write what was built, so that a crash cannot publish empty files."""
    from cwl_userspace.kernel.syscalls import sync_filesystem

    sync_filesystem(path)

"""Flatten the layers of an image into one tree of the store, and publish it.

A layer is fetched, verified, inflated and verified again by threads beside the one that writes
files. The next is inflated meanwhile, and those behind it are on their way, each as far as a few
chunks; so memory is bounded whatever the layers' sizes, and a connection may have to wait.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ImageError
from cwl_userspace.image import tar
from cwl_userspace.image.ahead import Ahead, Beside
from cwl_userspace.image.bound import Bound
from cwl_userspace.image.contents import Journal
from cwl_userspace.image.layers import Tree
from cwl_userspace.image.replaced import Replaced
from cwl_userspace.image.source import Source
from cwl_userspace.image.stream import Checked, decompressed
from cwl_userspace.oci import Image, Layer, chain_id
from cwl_userspace.store import unsynced
from cwl_userspace.store.base import COUNTED, Base, Counts, begin
from cwl_userspace.store.blobs import drop_damaged, keeping, kept
from cwl_userspace.store.phases import DOWNLOAD, PUBLISH, phase, through
from cwl_userspace.store.store import CONTENTS, REPLACED, Store
from cwl_userspace.store.workspace import workspace

Report = Callable[[str], None]
# Layers that are fetched, and those of them that are inflated, at the same time.
_AT_ONCE, _INFLATED = 4, 2


def flatten(
    store: Store, image: Image, source: Source, report: Report, whiteouts: bool
) -> list[Digest]:
    """Flatten the layers into a private tree and publish it; the DiffIDs that were found.

    Of the lowest layers those are not fetched which the store has as a tree, nor any whose blob is
    kept in the store.
    """
    while True:
        try:
            return _flatten(store, image, source, report, whiteouts)
        except ImageError:
            if not drop_damaged(store, [layer.blob for layer in image.layers]):
                raise


def _flatten(
    store: Store, image: Image, source: Source, report: Report, whiteouts: bool
) -> list[Digest]:
    with workspace(store) as private:
        known = [layer.diff_id for layer in image.layers if layer.diff_id is not None]
        if len(known) < len(image.layers) or not whiteouts:
            known = []
        try:
            base = begin(store, known, private)
            tree, journal = _tree(base, private)
        except OSError as error:
            raise store.failure(error, "unpack a layer") from None
        each: list[Counts] | None = None if base.each is None else list(base.each)
        diff_ids = known[: base.layers]
        try:
            if base.layers:
                tree.adopt()
            above = image.layers[base.layers :]
            with closing(_apply(tree, store, above, source, report, whiteouts)) as applied:
                for diff_id in applied:
                    diff_ids.append(diff_id)
                    if each is not None:
                        each.append(_counts(base, tree))
            tree.finish()
        except OSError as error:
            tree.close()
            raise store.failure(error, "unpack a layer") from None
        except BaseException:
            tree.close()
            raise
        if journal is not None:
            name = os.path.relpath(private, store.path)
            store.write_file(f"{name}/{CONTENTS}", journal.packed())
        facts: dict[str, object] = dict(zip(COUNTED, _counts(base, tree), strict=True))
        publish(store, private, diff_ids, facts if each is None else {**facts, "layers": each})
        return diff_ids


def _tree(base: Base, private: str) -> tuple[Tree, Journal | None]:
    """A tree that goes on from another; a record of it only if that one has a record."""
    rootfs = os.path.join(private, "rootfs")
    if base.record is None:
        return Tree(rootfs), None
    journal = Journal(base.record, base.layers)
    return Tree(
        rootfs, journal, Replaced(os.path.join(private, REPLACED), *base.counts[:2])
    ), journal


def _counts(base: Base, tree: Tree) -> Counts:
    return [
        before + int(getattr(tree, name)) for name, before in zip(COUNTED, base.counts, strict=True)
    ]


def publish(
    store: Store, private: str, diff_ids: Sequence[Digest], facts: Mapping[str, object]
) -> None:
    """Rename a directory that holds a finished ``rootfs``, and what is known of it, into place.

    It may not be on disk then: see store/unsynced.py.
    """
    name = os.path.relpath(private, store.path)
    stated = {"diff_ids": [str(diff_id) for diff_id in diff_ids], **facts}
    with phase(PUBLISH):
        store.write_file(f"{name}/tree.json", json.dumps(stated))
        unsynced.publish(store, private, f"trees/{chain_id(diff_ids).hex}")


def _apply(
    tree: Tree,
    store: Store,
    layers: Sequence[Layer],
    source: Source,
    report: Report,
    whiteouts: bool,
) -> Generator[Digest, None, None]:
    """Apply each layer while the next ones are already on their way; the DiffID of each."""
    running: list[_Pipeline] = []
    bound = Bound(tree, store.unpacked_limit)
    remaining = iter(layers)
    try:
        for position in range(len(layers)):
            while len(running) < _AT_ONCE and (layer := next(remaining, None)) is not None:
                running.append(_Pipeline(store, source, layer))
            for pipeline in running[:_INFLATED]:
                pipeline.inflate()
            _import_meanwhile()
            report(f"layer {position + 1} of {len(layers)}")
            diff_id = running[0].apply(tree, bound, whiteouts)
            running.pop(0).close()
            yield diff_id
    finally:
        for pipeline in running:
            pipeline.stop()
        for pipeline in running:
            pipeline.close()


def _import_meanwhile() -> None:
    """Import what the end needs, while nobody waits for us: the first bytes are on their way."""
    import zstandard  # noqa: F401

    from cwl_userspace.store import packs  # noqa: F401


class _Pipeline:
    """One layer on its way: fetched, verified, inflated and verified again, each in a thread."""

    def __init__(self, store: Store, source: Source, layer: Layer) -> None:
        blob = layer.blob
        self._diff_id = layer.diff_id
        self._what = f"the layer {blob.digest or layer.diff_id or 'of ' + source.label}"
        here = kept(store, blob)
        chunks = through(DOWNLOAD, source.layer(layer)) if here is None else here
        verified: Iterable[bytes] = Checked(chunks, blob.digest, blob.size, self._what)
        if store.keep_blobs and here is None and blob.digest is not None:
            verified = keeping(store, blob.digest, verified)
        self._steps: list[Ahead | Beside] = [Ahead(verified)]

    def inflate(self) -> None:
        """Begin to inflate what was fetched."""
        if len(self._steps) == 1:
            plain = Ahead(decompressed(self._steps[0], self._what))
            self._steps += [plain, Beside(plain, self._verify)]

    def _verify(self, chunks: Iterator[bytes]) -> None:
        """Read what came out of the layer; raise ContentMismatch if it has another DiffID."""
        plain = Checked(chunks, self._diff_id, None, f"{self._what}, unpacked,")
        for _ in plain:
            pass
        self._found = plain.digest

    def apply(self, tree: Tree, bound: Bound, whiteouts: bool) -> Digest:
        """Put the layer onto a tree; its DiffID."""
        plain = bound.watched(self._steps[-1], self._what)
        tree.apply(tar.Bytes(plain, self._what), whiteouts)
        return self._found

    def stop(self) -> None:
        """Have all threads end when they can."""
        for step in self._steps:
            step.stop()

    def close(self) -> None:
        """Stop, and see the threads end."""
        for step in self._steps:
            step.close()

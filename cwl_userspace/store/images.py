"""The verb of the store: make sure that an image is here, from the first source that has it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ImageError, ImageNotFound
from cwl_userspace.image.source import Source, nowhere
from cwl_userspace.oci import Image, Platform, chain_id, load_json
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records, unsynced
from cwl_userspace.store.flatten import Report, flatten, publish
from cwl_userspace.store.heart import now
from cwl_userspace.store.lease import lease
from cwl_userspace.store.phases import EXTRACT, PUBLISH, phase
from cwl_userspace.store.protect import is_protected
from cwl_userspace.store.records import Record
from cwl_userspace.store.store import LEASES, Store
from cwl_userspace.store.users import ADD, Busy


def ensure(
    reference: ImageReference,
    sources: Sequence[Source],
    store: Store,
    platform: Platform,
    report: Report,
    refresh: bool = False,
) -> Record:
    """The image's record, fetched if the store lacks it or ``refresh`` is asked for.

    Of several processes that ask at once, on whatever node, one fetches. Sources are tried in
    order. Raise ImageNotFound or the last source's error, with what each of them said.
    """
    if not refresh and (found := _complete(store, reference)) is not None:
        return found
    store.prepare()
    asked = now(os.path.join(store.path, LEASES)) if refresh else 0.0
    with lease(store, f"name-{hashlib.sha256(str(reference).encode()).hexdigest()}"):
        found = _complete(store, reference)
        if found is not None and (
            not refresh or _is_fresh(store, reference, found, platform, asked)
        ):
            return found
        errors: list[ImageError] = []
        for source in sources:
            try:
                image = source.image(reference, platform)
                return add(store, image, source, [reference], report)
            except ImageError as error:
                errors.append(error)
        raise nowhere(reference, errors, store.trouble)


def _complete(store: Store, reference: ImageReference) -> Record | None:
    try:
        record = records.by_reference(store, reference)
    except ImageNotFound:
        return None
    return record if store.has(record.chain) else None


def _is_fresh(
    store: Store, reference: ImageReference, record: Record, platform: Platform, asked: float
) -> bool:
    """True if another process has fetched the image since we wanted it: so we need not, again."""
    entry = os.path.join(store.path, "names", records.file_name(records.key_of(reference)))
    kind = (record.document.get("os"), record.document.get("architecture"))
    try:
        return kind == (platform.os, platform.architecture) and os.stat(entry).st_mtime > asked
    except OSError:
        return False


def add(
    store: Store,
    image: Image,
    source: Source,
    names: Sequence[ImageReference],
    report: Report,
    whiteouts: bool = True,
) -> Record:
    """Flatten an image into the store and file it under names; return its record.

    Raise ContentMismatch, LayerError or StoreError; then nothing of it can be seen.
    """
    store.prepare()
    with Busy(store, ADD):
        return _add(store, image, source, names, report, whiteouts)


def _add(
    store: Store,
    image: Image,
    source: Source,
    names: Sequence[ImageReference],
    report: Report,
    whiteouts: bool,
) -> Record:
    config = load_json(image.config, "the image configuration")
    if not isinstance(config, dict) or not isinstance(config.get("config") or {}, dict):
        raise ImageError("the image configuration is not an object", "the image is damaged")
    chain = chain_id([layer.diff_id for layer in image.layers if layer.diff_id])
    unknown = any(layer.diff_id is None for layer in image.layers)
    if unknown:
        with phase(EXTRACT):
            diff_ids = flatten(store, image, source, report, whiteouts)
        chain = chain_id(diff_ids)
        rootfs = {"type": "layers", "diff_ids": [str(d) for d in diff_ids]}
        config = {**config, "rootfs": rootfs}
    elif not store.has(chain):

        def make(place: Store) -> Digest:
            return chain_id(flatten(place, image, source, report, whiteouts))

        # What is kept of layers is the store's; a tree elsewhere is made in a store for this once.
        elsewhere = None if store.keep_blobs else store.elsewhere
        # Another may fetch an image of the same layers under another name.
        with lease(store, f"tree-{chain.hex}"):
            if not store.has(chain):
                with phase(EXTRACT):
                    chain = elsewhere(store, make) if elsewhere else make(store)
    with phase(PUBLISH):
        record = _file(store, image, config, chain, names, source.label)
    unsynced.sync_later(store, f"trees/{chain.hex}")
    return record


def add_built(
    store: Store,
    config: bytes,
    diff_ids: Sequence[Digest],
    built: Callable[[], tuple[str, dict[str, object]]],
    names: Sequence[ImageReference],
) -> Record:
    """File an image that was made here, under names; return its record.

    ``built`` gives a directory of the store's ``tmp`` with a finished ``rootfs`` in it, and what
    is known of that; it is asked only if the store lacks the tree, and the directory is taken.
    """
    chain = chain_id(diff_ids)
    with Busy(store, ADD):
        if not store.has_tree(chain):
            directory, facts = built()
            publish(store, directory, diff_ids, facts)
        document = load_json(config, "the image configuration")
        return _file(store, Image(config, ()), document, chain, names, "build")


def _file(
    store: Store,
    image: Image,
    config: dict[str, object],
    chain: Digest,
    names: Sequence[ImageReference],
    origin: str,
) -> Record:
    """Write what is known of an image: first the bytes, then the record, then the names."""
    from cwl_userspace.store import packs

    raw = image.config
    if config.get("rootfs") != load_json(raw, "the image configuration").get("rootfs"):
        raw = json.dumps(config).encode()
    identifier = Digest(hashlib.sha256(raw).hexdigest())
    store.write_file(f"blobs/sha256/{identifier.hex}", raw)
    if image.manifest_digest is not None:
        store.write_file(f"blobs/sha256/{image.manifest_digest.hex}", image.manifest)
    record = Record(
        {
            "id": str(identifier),
            "chain": str(chain),
            "manifest": str(image.manifest_digest or ""),
            "size": packs.number(store, chain, "bytes"),
            "created": time.time(),
            "config": config,
        },
        store.path,
    )
    store.write_file(f"images/{identifier.hex}.json", record.to_json())
    for reference in names:
        name(store, reference, record, origin)
    return record


def name(store: Store, reference: ImageReference, record: Record, origin: str) -> None:
    """File an image under a name; the name may have had another image before.

    A name that was protected stays so.
    """
    key = records.key_of(reference)
    entry = {"name": key, "image": str(record.id), "origin": origin, "time": time.time()}
    if is_protected(store, key):
        entry["protected"] = True
    store.write_file(f"names/{records.file_name(key)}", json.dumps(entry))

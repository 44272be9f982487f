"""Write images as ``docker save`` does: what ``docker load``, skopeo and our own ``load`` read.

The store keeps no layers, so each image gets one layer, its whole tree, and a configuration that
says so. Nothing is held in memory, and the same images give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from cwl_userspace.errors import StoreError
from cwl_userspace.image import tar
from cwl_userspace.image.stream import Checked
from cwl_userspace.image.tarwriter import END, Writer, content_of, member, size_of
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
    root = os.fsencode(image.rootfs)
    size = sum(size_of(entry) for entry, _ in _tree(root)) + len(END)
    layer = Checked(tree_bytes(image.rootfs), None, size, f"the tree {image.rootfs}")
    archive.directory(image.directory.encode(), 0o755, 0)
    archive.file(f"{image.directory}/VERSION".encode(), b"1.0", _MODE, 0)
    name = f"{image.directory}/layer.tar".encode()
    archive.entry(tar.Entry(tar.REGULAR, name, b"", _MODE, size, 0), layer)
    return str(layer.digest)


def tree_bytes(rootfs: str) -> Iterator[bytes]:
    """The bytes of a tree as one tar; raise StoreError for what cannot be read."""
    for entry, path in _tree(os.fsencode(rootfs)):
        yield from member(entry, content_of(path))
    yield END


def _tree(root: bytes) -> Iterator[tuple[tar.Entry, bytes]]:
    """Every file of a tree in the order of names, directories before what is in them."""
    linked: dict[tuple[int, int], bytes] = {}
    waiting = [b""]
    while waiting:
        name = waiting.pop()
        path = os.path.join(root, name) if name else root
        found = os.lstat(path)
        mode, mtime = stat.S_IMODE(found.st_mode), found.st_mtime_ns // 1_000_000_000
        if stat.S_ISDIR(found.st_mode):
            yield (
                tar.Entry(tar.DIRECTORY, name + b"/" if name else b"./", b"", mode, 0, mtime),
                path,
            )
            waiting += sorted((os.path.join(name, n) for n in _names(path)), reverse=True)
        elif stat.S_ISLNK(found.st_mode):
            yield tar.Entry(tar.SYMLINK, name, os.readlink(path), 0o777, 0, mtime), path
        elif stat.S_ISREG(found.st_mode):
            first = name
            if found.st_nlink > 1:
                first = linked.setdefault((found.st_dev, found.st_ino), name)
            if first == name:
                yield tar.Entry(tar.REGULAR, name, b"", mode, found.st_size, mtime), path
            else:
                yield tar.Entry(tar.HARD_LINK, name, first, mode, 0, mtime), path


def _names(directory: bytes) -> list[bytes]:
    try:
        return os.listdir(directory)
    except PermissionError:
        raise StoreError(
            f"the directory {os.fsdecode(directory)} is closed to its owner by its mode",
            "save the image as root",
        ) from None

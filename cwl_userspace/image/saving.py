"""What all formats of ``save`` have in common: the images, and where the files go."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from cwl_userspace.image import tar
from cwl_userspace.image.tarwriter import Writer
from cwl_userspace.oci import Layer
from cwl_userspace.reference import ImageReference

MODE = 0o644
_CHUNK = 1 << 20


class Original(NamedTuple):
    """An image's documents and layers as they were fetched; each layer with its file."""

    manifest: bytes
    config: bytes
    layers: Sequence[tuple[Layer, str]]


class Saved(NamedTuple):
    """An image to write: its tree, the name of that tree, and what was fetched, if that is kept."""

    tree: str
    rootfs: str
    config: dict[str, Any]
    names: Sequence[ImageReference]
    original: Original | None = None


class Sink(Protocol):
    """Where files go, each whole and in order."""

    def put(self, name: str, size: int, content: Iterable[bytes]) -> None:
        """Write one file, whose content has this size."""

    def document(self, name: str, content: bytes) -> None:
        """Write one small file."""


class TarSink:
    """The files of one tar; ``finish`` ends it."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._writer = Writer(write)
        self._names: set[str] = set()

    def has(self, name: str) -> bool:
        """True if a file of that name was written."""
        return name in self._names

    def put(self, name: str, size: int, content: Iterable[bytes]) -> None:
        """Write one member, after the directories that lead to it."""
        above = name.split("/")[:-1]
        for depth in range(len(above)):
            directory = "/".join(above[: depth + 1])
            if directory not in self._names:
                self._names.add(directory)
                self._writer.directory(directory.encode(), 0o755, 0)
        self._names.add(name)
        self._writer.entry(tar.Entry(tar.REGULAR, name.encode(), b"", MODE, size, 0), content)

    def document(self, name: str, content: bytes) -> None:
        """Write one small member."""
        self.put(name, len(content), [content])

    def finish(self) -> None:
        """The end of the archive."""
        self._writer.finish()


class DirectorySink:
    """The files below a directory, which is made."""

    def __init__(self, path: str) -> None:
        self._path = path
        os.mkdir(path)

    def put(self, name: str, size: int, content: Iterable[bytes]) -> None:
        """Write one file."""
        path = os.path.join(self._path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            for piece in content:
                file.write(piece)

    def document(self, name: str, content: bytes) -> None:
        """Write one small file."""
        self.put(name, len(content), [content])


def config_of_one_layer(config: dict[str, Any], diff_id: str) -> bytes:
    """The configuration for one layer; of its history that which was a layer is one entry."""
    history = [{"created_by": "cwl-userspace save", "comment": "all layers as one"}]
    history += [entry for entry in config.get("history") or () if entry.get("empty_layer")]
    if config.get("created"):
        history[0]["created"] = config["created"]
    rootfs = {"type": "layers", "diff_ids": [diff_id]}
    return json.dumps({**config, "history": history, "rootfs": rootfs}, sort_keys=True).encode()


def file_chunks(path: str) -> Iterator[bytes]:
    """The bytes of a file."""
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk

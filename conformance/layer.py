"""Turns files into an OCI layer: a gzip-compressed tar that is the same for the same content."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple, Protocol

from conformance.layout import Blob, Layout

# Debian 12's release day; files that a build makes itself get this time.
DEFAULT_EPOCH = 1686355200

# Of the host or of the kernel: a container gets its own.
_LEFT_OUT = ("dev/", "proc/", "sys/", "etc/hostname", "etc/resolv.conf")


class Entry(NamedTuple):
    header: tarfile.TarInfo
    content: IO[bytes] | None


class Layer(NamedTuple):
    blob: Blob
    diff_id: str


class _Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


class _Hashing:
    """Passes on what is written and keeps its SHA-256: the DiffID is that of the plain tar."""

    def __init__(self, target: _Writable) -> None:
        self._target = target
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        return self._target.write(data)


def write_layer(layout: Layout, entries: Iterable[Entry], level: int = 6) -> Layer:
    with layout.writing() as blob:
        # No name and no time in the gzip header, or equal layers would differ.
        with gzip.GzipFile("", "wb", level, blob, mtime=0) as packed:
            plain = _Hashing(packed)
            with tarfile.open(
                fileobj=plain,  # type: ignore[call-overload]
                mode="w|",
                format=tarfile.PAX_FORMAT,
            ) as tar:
                for header, content in entries:
                    tar.addfile(header, content)
        diff_id = f"sha256:{plain.hash.hexdigest()}"
    return Layer(blob.blob, diff_id)


def from_tar(stream: IO[bytes], started: int) -> Iterator[Entry]:
    """The entries of a root file system's tar, in its order, without what is this host's.

    Only times since `started` are replaced: those of a package's files are the same on every
    build, and Python's .pyc files hold the time of their source.
    """
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for header in tar:
            name = header.name.removeprefix("./").strip("/")
            if name in ("", ".") or name.startswith(_LEFT_OUT):
                continue
            header.name = name
            header.uname = header.gname = ""
            header.pax_headers = {}
            header.mtime = epoch() if header.mtime >= started else int(header.mtime)
            yield Entry(header, tar.extractfile(header) if header.isreg() else None)


def directory(name: str, mode: int = 0o755) -> Entry:
    header = _header(name, mode)
    header.type = tarfile.DIRTYPE
    return Entry(header, None)


def file(name: str, content: bytes, mode: int = 0o644) -> Entry:
    header = _header(name, mode)
    header.size = len(content)
    return Entry(header, io.BytesIO(content))


def symlink(name: str, target: str) -> Entry:
    header = _header(name, 0o777)
    header.type = tarfile.SYMTYPE
    header.linkname = target
    return Entry(header, None)


def epoch() -> int:
    return int(os.environ.get("SOURCE_DATE_EPOCH") or DEFAULT_EPOCH)


def _header(name: str, mode: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.mode = mode
    header.mtime = epoch()
    return header

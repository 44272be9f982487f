"""Files by name, in a directory or in a tar: what layouts and archives are read from."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from cwl_userspace.errors import ImageError, ImageNotFound, LayerError
from cwl_userspace.image import tar
from cwl_userspace.image.bound import beyond
from cwl_userspace.image.source import check_document_size
from cwl_userspace.image.stream import decompressed

_CHUNK = 1 << 20
_LINK_LIMIT = 10
_NAME_LIMIT = 1 << 17


class Files(Protocol):
    """Read-only files below one place."""

    @property
    def label(self) -> str:
        """How messages name the place."""

    def __contains__(self, name: object) -> bool:
        """True if there is a file of that name."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a file as they come; raise ImageNotFound if it is not there."""


def read(files: Files, name: str) -> bytes:
    """The bytes of a small file; raise ImageError if it is too large for a document."""
    what = f"{name} in {files.label}"
    content = bytearray()
    for chunk in files.chunks(name):
        content += chunk
        check_document_size(len(content), what)
    return bytes(content)


class Directory:
    """The files below a directory."""

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def label(self) -> str:
        """How messages name the place."""
        return f"oci:{self.path}"

    def __contains__(self, name: object) -> bool:
        return os.path.isfile(os.path.join(self.path, str(name)))

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a file; raise ImageNotFound if it cannot be read."""
        path = os.path.join(self.path, name)
        try:
            # A fifo would have us wait for ever, a device would never end.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise self._unreadable(path, str(error.strerror)) from None
        with open(fd, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise self._unreadable(path, "Not a regular file")
            while chunk := file.read(_CHUNK):
                yield chunk

    def _unreadable(self, path: str, reason: str) -> ImageNotFound:
        return ImageNotFound(
            f"{self.label} cannot be read: {reason}: {path}",
            "expected an OCI image layout directory",
        )


class TarFile:
    """The files in a tar: found by one pass over its headers, then read where they lie."""

    def __init__(self, file: BinaryIO, label: str) -> None:
        self._file = file
        self._label = label
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        file.seek(0)
        data = tar.Bytes(_all_chunks(file), label)
        for entry in tar.entries(data):
            name = posixpath.normpath(os.fsdecode(entry.name))
            if entry.sparse is not None:
                raise LayerError(
                    f"{label} holds {name!r:.80} as a sparse file",
                    "make the archive again without --sparse",
                )
            if entry.kind == tar.REGULAR:
                self._places[name] = (data.position, entry.size)
            elif entry.kind == tar.SYMLINK:
                joined = posixpath.join(posixpath.dirname(name), os.fsdecode(entry.link))
                self._links[name] = posixpath.normpath(joined)
            elif entry.kind == tar.HARD_LINK:
                self._links[name] = posixpath.normpath(os.fsdecode(entry.link))
            if len(self._places) + len(self._links) > _NAME_LIMIT:
                raise LayerError(
                    f"{label} has more than {_NAME_LIMIT} files", "no image comes in so many"
                )

    @property
    def label(self) -> str:
        """How messages name the place."""
        return self._label

    def __contains__(self, name: object) -> bool:
        return self._real_name(str(name)) in self._places

    def names(self) -> list[str]:
        """The names of all regular files."""
        return list(self._places)

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a member; links to other members are followed, others are refused."""
        place = self._places.get(self._real_name(name))
        if place is None:
            raise ImageNotFound(
                f"{self._label} has no file {name!r:.100}", "the archive is damaged"
            )
        offset, rest = place
        while rest:
            chunk = os.pread(self._file.fileno(), min(rest, _CHUNK), offset)
            if not chunk:
                raise LayerError(f"{self._label} was cut short", "copy the archive again")
            offset += len(chunk)
            rest -= len(chunk)
            yield chunk

    def _real_name(self, name: str) -> str:
        name = posixpath.normpath(name)
        for _ in range(_LINK_LIMIT):
            if name not in self._links:
                break
            name = self._links[name]
        return name


def _all_chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def open_archive(path: str, spool: str, limit: int) -> BinaryIO:
    """Open an archive for reading in any order; ``-`` is standard input.

    What is compressed or cannot be sought in is unpacked into the directory ``spool`` first, to at
    most ``limit`` bytes (0: any). Raise ImageError if the file cannot be read.
    """
    label = "standard input" if path == "-" else path
    try:
        file: BinaryIO = open(0 if path == "-" else path, "rb", closefd=path != "-")  # noqa: SIM115
    except OSError as error:
        raise ImageError(
            f"{label} cannot be read: {error.strerror}", "expected an archive"
        ) from None
    if stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
        raise ImageError(f"{label} is a directory", "expected an archive or an OCI layout")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode) and path != "-":
        head = file.read(262)
        file.seek(0)
        if head[257:262] == b"ustar" or not head.strip(b"\0"):
            return file
    with file, open(os.path.join(spool, "archive.tar"), "w+b") as copy:
        for chunk in decompressed(_all_chunks(file), label):
            copy.write(chunk)
            if limit and copy.tell() > limit:
                raise beyond(label, limit)
        copy.flush()
        return open(copy.name, "rb")

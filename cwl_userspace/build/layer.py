"""Layers of a build: written from what a step has changed, kept compressed, applied to a tree."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence

import zstandard

from cwl_userspace.build.problem import Problem
from cwl_userspace.build.snapshot import Snapshot, changed, removed
from cwl_userspace.digest import Digest
from cwl_userspace.errors import ImageError, StoreError
from cwl_userspace.image import tar
from cwl_userspace.image.layers import Tree
from cwl_userspace.image.saving import file_chunks
from cwl_userspace.image.stream import Checked, decompressed
from cwl_userspace.image.tarwriter import Writer, content_of

_LEVEL = 3
_WHITEOUT = b".wh."


class LayerFile:
    """A layer that is written to a file, compressed; ``close`` tells the plain tar's digest."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.entries = 0
        self._hash = hashlib.sha256()
        self._file = open(path, "xb")  # noqa: SIM115
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._packed = compressor.stream_writer(self._file)
        self.writer = Writer(self._write)

    def _write(self, data: bytes) -> None:
        self.entries += 1
        self._hash.update(data)
        self._packed.write(data)

    def close(self) -> Digest | None:
        """Finish the layer; None, and no file, if nothing was put into it."""
        if not self.entries:
            self._file.close()
            os.unlink(self.path)
            return None
        self.writer.finish()
        self._packed.flush(zstandard.FLUSH_FRAME)
        self._file.close()
        return Digest(self._hash.hexdigest())


def apply(rootfs: str, layers: Sequence[tuple[Digest, str]]) -> None:
    """Apply layers, given as their digests and files, to a tree that is there already.

    Raise StoreError for a file that is not what it should be.
    """
    tree = Tree(rootfs)
    try:
        tree.adopt()
        for diff_id, path in layers:
            what = f"the layer {diff_id} of an earlier build"
            plain = Checked(decompressed(file_chunks(path), what), diff_id, None, what)
            tree.apply(tar.Bytes(plain, what))
        tree.finish()
    except ImageError as error:
        tree.close()
        raise StoreError(error.message, "build again with --no-cache") from None
    except BaseException:
        tree.close()
        raise


def record(before: Snapshot, after: Snapshot, path: str) -> Digest | None:
    """Write what has changed to a layer, and leave the tree as the layer says it is.

    ``after`` is open. What no layer can hold, sockets say, is removed. None if nothing has changed.
    Raise Problem for a file whose name means something else in a layer.
    """
    layer = LayerFile(path)
    for name in removed(before, after):
        above, last = os.path.split(name)
        layer.writer.file(os.path.join(above, _WHITEOUT + last), b"", 0o644, 0)
    names = changed(before, after)
    for name in names:
        if stat.S_IFMT(after.files[name].mode) not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            after.drop(name)
    linked: dict[int, bytes] = {}
    for name in names:
        if name in after.files:
            _add(layer.writer, after, name, linked)
    return layer.close()


def check_name(name: bytes) -> None:
    """Raise Problem for a name that no file can have in a layer: there it means a whiteout."""
    if any(part.startswith(_WHITEOUT) for part in name.split(b"/")):
        raise Problem(
            f"has the file {os.fsdecode(name)!r:.100}, which cannot be part of an image",
            "in a layer such a name means that another file is gone: name it otherwise",
        )


def _add(writer: Writer, after: Snapshot, name: bytes, linked: dict[int, bytes]) -> None:
    check_name(name)
    seen = after.settle(name)
    mode, mtime = stat.S_IMODE(seen.mode), seen.modified // 1_000_000_000
    path = after.path(name)
    if stat.S_ISDIR(seen.mode):
        writer.directory(name, mode, mtime)
    elif stat.S_ISLNK(seen.mode):
        writer.link(name, os.readlink(path), mtime)
    elif seen.inode in linked:
        writer.hard_link(name, linked[seen.inode], mode, mtime)
    else:
        if seen.links > 1:
            linked[seen.inode] = name
        entry = tar.Entry(tar.REGULAR, name, b"", mode, seen.size, mtime)
        writer.entry(entry, content_of(path))

"""The tree of a stage: made only when a step needs it, from the nearest tree in the store."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from cwl_userspace.asroot import copy_tree
from cwl_userspace.build import layer
from cwl_userspace.build.cache import Cache
from cwl_userspace.digest import Digest
from cwl_userspace.image.tarwriter import content_of
from cwl_userspace.oci import chain_id
from cwl_userspace.store.store import Store


class WorkTree:
    """Layers on top of each other, lowest first, and their files in a private directory."""

    def __init__(
        self, store: Store, cache: Cache, private: str, below: Sequence[Digest] = ()
    ) -> None:
        self._store = store
        self._cache = cache
        self._private = private
        self._made = False
        self.diff_ids = list(below)

    @property
    def chain(self) -> Digest:
        """The ChainID of all layers so far."""
        return chain_id(self.diff_ids)

    def rootfs(self) -> str:
        """The tree's path; the tree is made now if it was not yet."""
        path = os.path.join(self._private, "rootfs")
        if self._made:
            return path
        try:
            # Its programs may be setuid for a while: nobody else comes near them.
            os.makedirs(self._private, mode=0o700)
            count = self._nearest()
            if count:
                _copy(self._store.tree(chain_id(self.diff_ids[:count])), path)
            else:
                os.mkdir(path, 0o755)
            above = self.diff_ids[count:]
            if above:
                layer.apply(path, [(diff_id, self._cache.layer(diff_id)) for diff_id in above])
        except OSError as error:
            raise self._store.failure(error, "copy a tree") from None
        self._made = True
        return path

    def finished(self) -> str:
        """The directory that holds the tree as ``rootfs``, and nothing else; open to everybody."""
        self.rootfs()
        os.chmod(self._private, 0o755)
        return self._private

    def _nearest(self) -> int:
        """How many of the layers the store has as a tree."""
        counts = range(len(self.diff_ids), 0, -1)
        return next((n for n in counts if self._store.has_tree(chain_id(self.diff_ids[:n]))), 0)

    def add(self, diff_id: Digest | None, applied: bool = False) -> None:
        """Put a layer of the cache on top; ``applied`` if the files have it already."""
        if diff_id is None:
            return
        self.diff_ids.append(diff_id)
        if self._made and not applied:
            layer.apply(self.rootfs(), [(diff_id, self._cache.layer(diff_id))])


def _copy(source: str, target: str) -> None:
    """Copy a tree whole: without user namespaces modes may have kept us from some files."""
    for path in copy_tree(source, target):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "its mode keeps its owner out", path)
        copied = os.fsencode(target + path.removeprefix(source))
        mode = os.lstat(copied).st_mode & 0o7777
        times = os.lstat(path)
        os.chmod(copied, 0o600)
        with open(copied, "wb") as file:
            file.writelines(content_of(os.fsencode(path)))
        os.utime(copied, ns=(times.st_atime_ns, times.st_mtime_ns))
        os.chmod(copied, mode)

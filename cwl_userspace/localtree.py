"""Trees on a local disk: unpacked from one file of the shared store, once for each host, for runs.

``DIR/cwl-userspace-UID`` is a store (store/store.py) of which only ``trees``, ``tmp``, ``leases``
and ``locks`` are used. A shared file system gives it one file (store/packs.py) and is asked for
none of the tree's, neither then nor by the jobs. Whatever goes wrong with it, the run takes the
shared tree, and the log says why.
"""

from __future__ import annotations

import os
import stat
import time

from cwl_userspace import asroot, trees
from cwl_userspace.errors import StoreError
from cwl_userspace.store.store import Store, private_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cwl_userspace.digest import Digest
    from cwl_userspace.store.records import Record

# How long to wait for another process that unpacks the same; it may be stopped, or stuck.
PATIENCE = 300.0
# So long after it failed another may try.
_RETRY = 3600.0
# Temporary directories are often cleaned of files that were not used for ten days, one by one.
_OLDEST = 9 * 24 * 3600.0
# Then no run is expected to be in a tree any more that was too old for a new one.
_UNUSED = 30 * 24 * 3600.0


class LocalTrees:
    """The trees on one local disk. ``note`` is told what goes wrong, which is never an error."""

    def __init__(self, directory: str, note: Callable[[str], object]) -> None:
        self._store = Store(os.path.join(directory, f"cwl-userspace-{os.geteuid()}"))
        self._note = note

    def tree(self, shared: Store, record: Record, patience: float = PATIENCE) -> str:
        """The path of an image's tree on the local disk, unpacked there if it is the first time.

        It is the shared tree's, and ``note`` is told why, where there is none to be had: no room,
        a directory of somebody else's, or another process that is at it longer than ``patience``.
        Raise PackDamaged if there is no other either.
        """
        local = self._store
        try:
            _check_owner(local.path)
            name, here = _generation(local, record.chain)
            if not here:
                name = _unpack(shared, record, local, patience, self._note)
            return os.path.join(local.path, "trees", name, "rootfs")
        except StoreError as error:
            reason = error
        except OSError as error:
            reason = local.failure(error, "unpack a tree")
        tree = trees.stored(shared, record, self._note)
        self._note(f"the image is taken from {tree} and not from a local disk: {reason}")
        return tree

    def build(self, shared: Store, flatten: Callable[[Store], Digest]) -> Digest:
        """Have a new tree made on the local disk, and give the shared store nothing but its pack.

        ``flatten`` makes a tree in a store; its ChainID is returned. Where there is no local disk
        to be had the tree is made in the shared store.
        """
        from cwl_userspace.store import packs, unsynced
        from cwl_userspace.store.workspace import workspace

        try:
            _prepare(self._store)
            with workspace(self._store) as private:
                aside = Store(private)
                aside.prepare()
                chain = flatten(aside)
                built = os.path.dirname(aside.tree(chain))
                packs.make(shared, chain, built, asroot.with_all_rights)
                name, here = _generation(self._store, chain)
                if not here:
                    self._store.publish(built, f"trees/{name}")
                    unsynced.sync_later(self._store, f"trees/{name}")
                return chain
        except StoreError as error:
            reason = error
        except OSError as error:
            reason = self._store.failure(error, "make a tree")
        self._note(f"the tree is made in {shared.path} and not on a local disk: {reason}")
        return flatten(shared)


def _check_owner(path: str) -> None:
    """Raise StoreError unless the directory is ours alone to write, or not there yet.

    Local disks are often open to everybody, and whoever makes the directory decides what is run.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise StoreError(
            f"{path} is not a directory that only its user can write", "set local_store elsewhere"
        )


def _prepare(local: Store) -> None:
    os.makedirs(os.path.dirname(local.path), mode=0o755, exist_ok=True)
    try:
        os.mkdir(local.path, 0o700)
    except FileExistsError:
        _check_owner(local.path)
    local.prepare()


def _generation(local: Store, chain: Digest) -> tuple[str, bool]:
    """The name of the tree that is young enough, and True; or of the next one, and False.

    A cleaner may have been at the files of an old one. Jobs may still be in it, so it stays.
    """
    number = 0
    while True:
        name = f"{chain.hex}.{number}" if number else chain.hex
        directory = os.path.join(local.path, "trees", name)
        try:
            made = os.stat(directory).st_mtime
        except FileNotFoundError:
            return name, False
        if not local.is_sound(directory):
            continue  # it is gone now
        if made > time.time() - _OLDEST:
            return name, True
        number += 1


def _unpack(
    shared: Store,
    record: Record,
    local: Store,
    patience: float,
    note: Callable[[str], object],
) -> str:
    """Unpack the tree unless another process does, or could not a short while ago; its name."""
    from cwl_userspace.store.lease import lease
    from cwl_userspace.store.packs import PackDamaged

    _prepare(local)
    failed = f"locks/{record.chain.hex}.failed"
    _check_failed(local, failed)
    with lease(local, f"tree-{record.chain.hex}", patience) as held:
        name, here = _generation(local, record.chain)
        if here:
            return name
        if not held:
            raise StoreError(f"another process still unpacks it in {local.path}", "see ps")
        _check_failed(local, failed)
        try:
            _unpack_alone(shared, record, local, name, patience, note)
        except PackDamaged:  # the disk is not to blame
            raise
        except (OSError, StoreError) as error:
            said = local.failure(error, "unpack a tree") if isinstance(error, OSError) else error
            try:
                local.write_file(failed, str(said))
            except StoreError:  # as full as that; then the next run finds it out by itself
                pass
            raise said from None
        _remove_unused(local, record.chain)
        return name


def _check_failed(local: Store, name: str) -> None:
    """Raise StoreError with what another process said that failed: not each need try it again."""
    try:
        with open(os.path.join(local.path, name), encoding="utf-8", errors="replace") as file:
            said = file.read(1000)
            since = time.time() - os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return
    if since < _RETRY:
        raise StoreError(
            f"an earlier run said: {said}", f"it is tried again in {_RETRY - since:.0f} s"
        )


def _unpack_alone(
    shared: Store,
    record: Record,
    local: Store,
    name: str,
    patience: float,
    note: Callable[[str], object],
) -> None:
    """Make the tree in private and rename it into place."""
    from cwl_userspace.store import packs, unsynced
    from cwl_userspace.store.workspace import workspace

    with workspace(local) as private:
        disk = os.statvfs(private)
        files = packs.number(shared, record.chain, "files")
        if disk.f_bavail * disk.f_frsize < record.size or 0 < disk.f_favail < files:
            raise StoreError(
                f"{local.path} has no room for {record.size >> 20} MiB in {files} files",
                "set local_store elsewhere",
            )
        if _have_pack(shared, record, patience, note):
            try:
                packs.unpack(shared, record.chain, private, note)
            except packs.PackDamaged:
                if not shared.has_tree(record.chain):
                    raise
                trees.copied(shared.tree(record.chain), private)
        else:
            trees.copied(shared.tree(record.chain), private)
        unsynced.publish(local, private, f"trees/{name}")
        unsynced.sync_later(local, f"trees/{name}")


def _have_pack(
    shared: Store, record: Record, patience: float, note: Callable[[str], object]
) -> bool:
    """True if there is a pack, made now of the shared tree by whoever is the first on any node."""
    from cwl_userspace.store import packs
    from cwl_userspace.store.lease import lease

    def there() -> bool:
        return next(shared.packs(record.chain), None) is not None

    if there():
        return True
    try:
        shared.prepare()
        with lease(shared, f"pack-{record.chain.hex}", patience) as held:
            if held and not there():
                directory = os.path.dirname(shared.tree(record.chain))
                packs.make(shared, record.chain, directory, asroot.with_all_rights)
        return there()
    except StoreError as error:
        reason = error
    except OSError as error:
        reason = shared.failure(error, "make a pack")
    note(f"the tree is copied file by file: {reason}")
    return False


def _remove_unused(local: Store, chain: Digest) -> None:
    """Remove what has been too old for so long that no run can be in it any more."""
    top = os.path.join(local.path, "trees")
    for name in os.listdir(top):
        path = os.path.join(top, name)
        aside = os.path.join(local.path, "tmp", private_name())
        try:
            if name.startswith(chain.hex) and os.stat(path).st_mtime < time.time() - _UNUSED:
                os.rename(path, aside)
                asroot.remove_tree(aside)
        except OSError:  # another process was first, or it is not ours to remove
            continue

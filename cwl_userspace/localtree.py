"""Trees on a local disk: a copy of a shared store's tree, made once for each host, for runs alone.

``DIR/cwl-userspace-UID`` is a store (store/store.py) of which only ``trees``, ``tmp``, ``leases``
and ``locks`` are used. It saves a shared file system from being asked for every file of every job;
so whatever goes wrong with it, the run takes the shared tree, and the log says why.
"""

from __future__ import annotations

import os
import stat
import time

from cwl_userspace.errors import StoreError
from cwl_userspace.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cwl_userspace.store.records import Record

# How long to wait for another process that makes the same copy; it may be stopped, or stuck.
PATIENCE = 300.0
# So long after a copy failed another may try.
_RETRY = 3600.0
# Temporary directories are often cleaned of files that were not used for ten days, one by one.
_OLDEST = 9 * 24 * 3600.0


def local_tree(
    shared: Store,
    record: Record,
    directory: str,
    note: Callable[[str], None],
    patience: float = PATIENCE,
) -> str:
    """The path of an image's tree below a local directory, copied there if it is the first time.

    Return the shared tree's path, and ``note`` why, where there is no copy to be had: no room, a
    directory of somebody else's, or another process that copies for longer than ``patience``.
    """
    tree = shared.tree(record.chain)
    local = Store(os.path.join(directory, f"cwl-userspace-{os.geteuid()}"))
    try:
        _check_owner(local.path)
        if not local.has_tree(record.chain):
            _copy(shared, record, local, patience)
        _check_age(local, record)
        return local.tree(record.chain)
    except StoreError as error:
        reason = str(error)
    except OSError as error:
        reason = str(local.failure(error, "copy a tree"))
    note(f"the image is taken from {tree} and not from a local disk: {reason}")
    return tree


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


def _check_age(local: Store, record: Record) -> None:
    """Raise StoreError for a tree that is so old that a cleaner may have been at its files."""
    directory = os.path.dirname(local.tree(record.chain))
    if os.stat(directory).st_mtime < time.time() - _OLDEST:
        raise StoreError(f"{directory} is older than nine days", "remove it, and it is made anew")


def _copy(shared: Store, record: Record, local: Store, patience: float) -> None:
    """Make the copy unless another process does, or could not a short while ago."""
    from cwl_userspace.store.lease import lease

    os.makedirs(os.path.dirname(local.path), exist_ok=True)
    try:
        os.mkdir(local.path, 0o700)
    except FileExistsError:
        _check_owner(local.path)
    local.prepare()
    failed = f"locks/{record.chain.hex}.failed"
    _check_failed(local, failed)
    with lease(local, f"tree-{record.chain.hex}", patience) as held:
        if local.has_tree(record.chain):
            return
        if not held:
            raise StoreError(f"another process still copies it to {local.path}", "see ps")
        _check_failed(local, failed)
        try:
            _copy_alone(shared, record, local)
        except (OSError, StoreError) as error:
            said = local.failure(error, "copy a tree") if isinstance(error, OSError) else error
            try:
                local.write_file(failed, str(said))
            except StoreError:  # as full as that; then the next run finds it out by itself
                pass
            raise said from None


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


def _copy_alone(shared: Store, record: Record, local: Store) -> None:
    """Make the copy in private and rename it into place."""
    from cwl_userspace.asroot import copy_tree
    from cwl_userspace.kernel.syscalls import sync_filesystem
    from cwl_userspace.store.workspace import workspace

    with workspace(local) as private:
        disk = os.statvfs(private)
        if disk.f_bavail * disk.f_frsize < record.size:
            raise StoreError(
                f"{local.path} has no room for {record.size >> 20} MiB", "set local_store elsewhere"
            )
        unread = copy_tree(shared.tree(record.chain), os.path.join(private, "rootfs"))
        if unread:
            raise StoreError(f"{unread[0]} cannot be read", "its mode keeps even its owner out")
        sync_filesystem(private)
        local.publish(private, f"trees/{record.chain.hex}")

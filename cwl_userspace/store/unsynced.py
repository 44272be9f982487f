"""Trees that can be seen before the disk has them: a mark beside each says so until it has.

``trees/CHAIN/unsynced`` is a link that points to nothing but names the process which has the file
system write all of it (syncfs(2)) and then removes the mark. It is in the tree's directory before
that is renamed into place, so no crash leaves the one without the other, and a link's text is
written with its name where a file's content may come later. While the kernel that wrote a tree
runs, or its host gives signs of life, what is read of it is what was written. After that a crash
may have left files empty: then the tree is compared with what was recorded of it, and is whole, or
is put aside as if it had never been there.

Only looking at a mark is on the way of a run.
"""

from __future__ import annotations

import os

from cwl_userspace.store.owner import Owner, private_name
from cwl_userspace.store.store import CONTENTS, LEASES, MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cwl_userspace.store.store import Store

# Seconds without a sign of life after which another host's process is dead.
_SILENCE = 60.0
# How long to wait for another process that compares or removes the same tree.
_PATIENCE = 300.0


def publish(store: Store, private: str, name: str) -> bool:
    """Rename a directory with a finished ``rootfs`` into place; False if another was first.

    One that could be compared later is not yet on disk: call ``sync_later`` when all that belongs
    to it is written, too. Raise StoreError where the disk is full, or the store cannot be written.
    """
    try:
        if os.path.exists(os.path.join(private, CONTENTS)):
            os.symlink(str(Owner.me()), os.path.join(private, MARK))
        else:
            from cwl_userspace.kernel.syscalls import sync_filesystem

            sync_filesystem(private)
    except OSError as error:  # what was written long ago may find no room only now
        raise store.failure(error, "write a tree") from None
    return store.publish(private, name)


def sync_later(store: Store, name: str) -> None:
    """Have a process of its own sync a tree that this one has published, and remove its mark.

    The caller does not wait; only where no process can be started it is done now.
    """
    directory = os.path.join(store.path, name)
    if _said(directory) == str(Owner.me()):
        from cwl_userspace.store.syncing import start

        start(directory)


def confirm(store: Store, name: str) -> None:
    """Sync a tree now that is known to be as it was recorded, and remove its mark if it has one."""
    directory = os.path.join(store.path, name)
    if _said(directory) is not None:
        from cwl_userspace.store.syncing import settle

        place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            settle(place, directory)
        finally:
            os.close(place)


def is_sound(store: Store, directory: str) -> bool:
    """True if a tree that has a mark, or had one just now, is what was written.

    One that is not is put aside; raise StoreError if that cannot be. Of a store that is only read
    nothing is changed.
    """
    said = _said(directory)
    if said is None:
        return os.path.isdir(directory)
    owner = Owner.parse(said)
    if owner is not None and owner.is_of_this_boot():
        mine = not store.only_read and os.access(directory, os.W_OK)
        if mine and _is_dead(owner, store, directory):
            from cwl_userspace.store.syncing import start

            start(directory)
        return True
    rebooted = owner is None or owner.host == Owner.me().host
    if owner is not None and not rebooted and not _is_dead(owner, store, directory):
        return True
    if store.only_read:
        return _is_as_recorded(store, directory)
    return _examined(store, directory)


def _is_dead(owner: Owner, store: Store, directory: str) -> bool:
    """True if who syncs a tree is no more, or has given no sign of life for long."""
    dead = owner.is_dead()
    if dead is not None:
        return dead
    import time

    from cwl_userspace.store.heart import last_sign, now

    here = time.time() if store.only_read else now(os.path.join(store.path, LEASES))
    try:
        return here - last_sign(os.path.join(directory, MARK)) > _SILENCE
    except FileNotFoundError:
        return False


def _examined(store: Store, directory: str) -> bool:
    """Compare a tree; one process does so, and others wait for it."""
    from cwl_userspace.store.lease import lease

    name = os.path.basename(directory)
    with lease(store, f"doubt-{name}", _PATIENCE):
        if not os.path.lexists(os.path.join(directory, MARK)):
            return os.path.isdir(directory)
        if not _is_as_recorded(store, directory):
            _put_aside(store, directory)
            return False
        confirm(store, f"trees/{name}")
        return True


def _is_as_recorded(store: Store, directory: str) -> bool:
    """Read all of a tree, and what is known of it."""
    import json

    from cwl_userspace.errors import StoreError
    from cwl_userspace.image.contents import read
    from cwl_userspace.store.compare import compare
    from cwl_userspace.store.modes import is_of_a_group

    record = os.path.join(directory, CONTENTS)
    try:
        with open(os.path.join(directory, "tree.json"), "rb") as file:
            json.loads(file.read())
        with open(record, "rb") as file:
            root = read(file.read(), record)
        rootfs = os.path.join(directory, "rootfs")
        found = compare(rootfs, root, opened=is_of_a_group(store.path))
    except (OSError, ValueError, StoreError):
        return False
    return not found.differences and not found.unread


def _put_aside(store: Store, directory: str) -> None:
    """Remove a tree that a crash has damaged, unless something runs in it."""
    from cwl_userspace.errors import StoreError
    from cwl_userspace.image.confine import remove_tree
    from cwl_userspace.store.inuse import GONE
    from cwl_userspace.store.lease import lease
    from cwl_userspace.store.users import in_use

    name = os.path.basename(directory)
    aside = os.path.join(store.path, "tmp", private_name())
    with lease(store, f"{GONE}-{name}", _PATIENCE):
        users = in_use(store).get(name, [])
        if users:
            raise StoreError(
                f"{directory} was damaged when the host that wrote it stopped, and is in use by "
                f"{users[0].shown()}",
                "try again after that",
            )
        try:
            os.rename(directory, aside)
            remove_tree(aside)
        except FileNotFoundError:  # another process was first
            pass
        except OSError as error:
            raise store.failure(error, "remove a damaged tree") from None


def _said(directory: str) -> str | None:
    """What the mark of a tree says; None if it has none."""
    try:
        return os.readlink(os.path.join(directory, MARK))
    except FileNotFoundError:
        return None
    except OSError:
        return ""

"""Private copies of what a container may not write, where its engine cannot forbid it.

The container writes to the copies as it likes; they are removed with the run's private directory.
"""

from __future__ import annotations

import copy
import os

from cwl_userspace.engines.base import READ_ONLY_BINDS, READ_ONLY_ROOT
from cwl_userspace.errors import StoreError
from cwl_userspace.spec import Mount
from cwl_userspace.store.copy import copy_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.spec import ContainerSpec

# What copies stand in for.
COPIED = (READ_ONLY_BINDS, READ_ONLY_ROOT)


def stage(
    spec: ContainerSpec, engine: Engine, private: str, promises: Collection[str]
) -> ContainerSpec:
    """The container with copies below ``private`` in place of what ``promises`` would protect.

    Raise StoreError where a copy cannot be made, or not of all of it.
    """
    staged = copy.copy(spec)
    os.makedirs(f"{private}/inputs", mode=0o700, exist_ok=True)
    if READ_ONLY_BINDS in promises:
        staged.mounts = tuple(
            Mount(_copied(m.source, f"{private}/inputs/{number}"), m.target) if m.read_only else m
            for number, m in enumerate(spec.mounts)
        )
    if READ_ONLY_ROOT in promises:
        staged.read_only = False
        if spec.own_tree or not engine.copies(staged):
            staged.rootfs = _copied(spec.rootfs, f"{private}/tree")
            staged.own_tree = True
    return staged


def _copied(source: str, target: str) -> str:
    try:
        unread = copy_place(source, target)
    except OSError as error:
        raise StoreError(
            f"cannot copy {source!r} for this run: {error.strerror}",
            "set TMPDIR to where there is room, or choose another engine",
        ) from None
    if unread:
        raise StoreError(
            f"cannot copy {source!r} for this run: {unread[0]!r} cannot be read",
            "give the container only what you can read, or choose another engine",
        )
    return target

"""Make the tree of some lowest layers out of one with more, which has kept what these replaced."""

from __future__ import annotations

import os
import stat

from cwl_userspace.image.contents import Node, layer_of
from cwl_userspace.image.lower import Lower, lower, walk
from cwl_userspace.store.compare import crc_of
from cwl_userspace.store.copy import Copy, copy_tree
from cwl_userspace.store.store import CONTENTS, REPLACED


def copy_lowest(
    directory: str, record: bytes, layers: int, of: int, private: str, link: bool
) -> bytes | None:
    """Copy the lowest ``layers`` of a tree ``of`` so many into a private directory; their record.

    ``directory`` is that of the tree, and ``record`` tells of all its layers. With ``link`` files
    are not copied but get another name. None if something was not kept, or is not as it was. Raise
    StoreError for a damaged record, OSError for what cannot be read or written.
    """
    found = lower(record, os.path.join(directory, CONTENTS), layers, of)
    if found is None or not _all_kept(found, directory):
        return None
    copy = Copy(link)
    top = os.path.join(private, "rootfs")
    os.mkdir(top, 0o700)
    directories = [(top, found.root)]
    for name, node in walk(found.root):
        target = os.path.join(top, os.fsdecode(name))
        if node.kind == b"D":
            os.mkdir(target, 0o700)
            directories.append((target, node))
        else:
            source = _source(found, node, directory)
            copy.file(source, target, os.lstat(source))
    for target, node in reversed(directories):
        stamp = node.mtime * 1_000_000_000 + node.nanoseconds
        os.utime(target, ns=(stamp, stamp))
        os.chmod(target, node.mode)
    copy_replaced(directory, private, layers, link)
    return None if copy.unread else found.record


def copy_replaced(directory: str, private: str, layers: int, link: bool) -> None:
    """Copy what the lowest ``layers`` of a tree have replaced, to where those of another will.

    Another user's may be closed to us. Then it lacks here, which whoever wants it will see.
    """
    theirs, ours = (os.path.join(place, REPLACED) for place in (directory, private))
    try:
        names = os.listdir(theirs)
    except (FileNotFoundError, PermissionError):
        names = []
    wanted = [name for name in names if layer_of(name) < layers]
    if wanted:
        os.mkdir(ours, 0o700)
    copy = Copy(link)
    for name in wanted:
        source, target = os.path.join(theirs, name), os.path.join(ours, name)
        found = os.lstat(source)
        if stat.S_ISDIR(found.st_mode):
            copy_tree(source, target, link)
        else:
            copy.file(source, target, found)


def _source(found: Lower, node: Node, directory: str) -> str:
    """Where a file or link is; raise KeyError if it is not known."""
    if id(node) in found.there:
        return os.path.join(directory, "rootfs", os.fsdecode(found.there[id(node)]))
    return os.path.join(directory, REPLACED, os.fsdecode(found.kept[id(node)]))


def _all_kept(found: Lower, directory: str) -> bool:
    """True if nothing is wanted that is not in the tree, or is beside it as it was recorded.

    Nobody else looks at what is beside a tree, so a crash of the host may have emptied it.
    """
    for _, node in walk(found.root):
        if node.kind == b"D" or id(node) in found.there:
            continue
        source = _source(found, node, directory)
        try:
            if node.kind == b"F" and crc_of(os.fsencode(source)) != node.crc:
                return False
            if node.kind == b"L" and os.fsencode(os.readlink(source)) != node.target:
                return False
        except OSError:
            return False
    return True

"""Have every symbolic link of a private tree lead where it would if the tree were the root.

Where nothing changes the kernel's idea of the root, an absolute link of an image leads to the
host's file, and so does a relative one that climbs too high.
"""

from __future__ import annotations

import os


def anchor_links(root: str) -> None:
    """Rewrite such links of the tree at ``root``, a real path; others stay as they are."""
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        inside = directory[len(root) :]
        for entry in _children(directory):
            if entry.is_symlink():
                wanted = anchored(inside, os.readlink(entry.path))
                if wanted is not None:
                    _replace(entry.path, root + wanted)
            elif entry.is_dir():
                waiting.append(entry.path)


def anchored(directory: str, target: str) -> str | None:
    """Where a link of a directory leads, from the root; None if the kernel gets there by itself.

    What comes after a name that may be a link itself is left to the kernel, as long as it does
    not climb: then the link is taken at its word.
    """
    if target.startswith("/"):
        return target if _stays(target) else os.path.normpath("/" + target.lstrip("/"))
    if _stays(directory + "/" + target) and not _climbs_after_a_name(target):
        return None
    return os.path.normpath(f"/{directory}/{target}").replace("//", "/")


def _stays(path: str) -> bool:
    """True if no part of a path climbs above where it starts."""
    depth = 0
    for part in path.split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            return False
    return True


def _climbs_after_a_name(target: str) -> bool:
    """True for ``a/../b``: if a is a link elsewhere, nobody knows where that leads."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    names = [index for index, part in enumerate(parts) if part != ".."]
    return bool(names) and ".." in parts[names[0] :]


def _replace(link: str, target: str) -> None:
    found = os.lstat(link)
    os.unlink(link)
    os.symlink(target, link)
    os.utime(link, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


def _children(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except PermissionError:
        return []

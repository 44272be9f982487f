"""What the tree of a container that stays has from the beginning, for the files of every run."""

from __future__ import annotations

import os

from cwl_userspace.image.confine import Missing, Root

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_mount_points(rootfs: str) -> None:
    """Have the files that every run mounts its own upon.

    What a run makes for them it removes at its end, and another run in the same container would
    lose what it has mounted there.
    """
    if not os.path.lexists(os.path.join(rootfs, "etc")):
        os.mkdir(os.path.join(rootfs, "etc"), 0o755)
    root = Root(rootfs)
    try:
        etc = root.open_directory([b"etc"], None)
    except Missing:
        return
    finally:
        root.close()
    for name in ("hosts", "resolv.conf"):
        try:
            os.close(os.open(name, _NEW, 0o644, dir_fd=etc.fd))
        except (FileExistsError, PermissionError):
            continue
    etc.close()

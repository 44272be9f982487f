"""The container's root: made, entered, and the way back to the host closed."""

from __future__ import annotations

import errno
import os

from cwl_userspace import inroot
from cwl_userspace.kernel import syscalls as sys_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_QUIET = sys_.MS_NOSUID | sys_.MS_NODEV


def mount_namespace(flags: int) -> None:
    """Enter the other namespaces; mounts of the host still arrive, none of ours goes out."""
    sys_.unshare(flags | sys_.CLONE_NEWNS)
    try:
        sys_.mount(None, "/", None, sys_.MS_REC | sys_.MS_SLAVE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _make_root_a_mount()


def _make_root_a_mount() -> None:
    """In a chroot the root is no mount, which pivot_root(2) wants it to be.

    What is mounted over a root is reached by ``/..`` only. That none of this is seen outside is
    for a probe to find out beforehand: the propagation of a mount can be changed at its root alone.
    """
    sys_.mount("/", "/", None, sys_.MS_BIND | sys_.MS_REC)
    os.chroot("/..")
    os.chdir("/")
    sys_.mount(None, "/", None, sys_.MS_REC | sys_.MS_SLAVE)


def overlay(
    rootfs: str,
    stage: str,
    disk: str = "",
    size: int = 0,
    made: Sequence[tuple[str, int]] = (),
) -> None:
    """A private root over ``rootfs``; ends in it as current directory.

    What is written goes to the directory ``disk`` if it is named, else to memory, of which
    ``size`` bytes may be used (0: half of the host's). All paths that go into the mount's options
    are relative: a comma or colon in them would have a meaning there.

    ``made`` are directories of the tree, parents first, and modes, that are made above it: the
    kernel copies nothing up that belongs to somebody whom this user name space does not know
    (EOVERFLOW), and so lets nobody write to such a directory.
    """
    _stage(rootfs, stage, size)
    above = "."
    if disk:
        above = "disk"
        os.mkdir(above)
        sys_.mount(disk, above, None, sys_.MS_BIND)
    for name in (f"{above}/upper", f"{above}/work", "root"):
        os.mkdir(name, 0o755)
    mode = os.stat("lower").st_mode & 0o7777
    os.chmod(f"{above}/upper", mode | 0o700)
    for path, mode in made:
        os.mkdir(f"{above}/upper{path}")
        os.chmod(f"{above}/upper{path}", mode | 0o700)
    _lay_over("lower", above, "root")
    os.chdir("root")


def _lay_over(lower: str, above: str, target: str) -> None:
    """An overlay of a directory; what is written goes to ``above``, where upper and work are."""
    options = f"lowerdir={lower},upperdir={above}/upper,workdir={above}/work"
    try:
        sys_.mount("overlay", target, "overlay", _QUIET, options + ",userxattr")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        sys_.mount("overlay", target, "overlay", _QUIET, options)


def assemble(rootfs: str, stage: str, view: dict[str, Any], size: int = 0) -> None:
    """A private root of directories in memory with the tree's parts bound read-only into it."""
    _stage(rootfs, stage, size)
    os.mkdir("root", 0o755)
    for path in view["directories"]:
        os.makedirs(f"root{path}", exist_ok=True)
    _show(view["links"], view["binds"])
    for part in view["merged"]:
        _merge(part["path"], part["links"], part["binds"])
    os.chdir("root")
    sys_.mount(".", ".", None, sys_.MS_BIND | sys_.MS_REC)
    os.chdir(f"{stage}/root")


def _show(links: Sequence[tuple[str, str]], binds: Sequence[str]) -> None:
    for path, target in links:
        os.symlink(target, f"root{path}")
    for path in binds:
        inside = f"lower{path}"
        if os.path.isdir(inside):
            os.makedirs(f"root{path}", exist_ok=True)
        else:
            inroot.touch(f"root{path}")
        sys_.mount(inside, f"root{path}", None, sys_.MS_BIND)
        inroot.restrict(f"root{path}", read_only=True)


def _merge(path: str, links: Sequence[tuple[str, str]], binds: Sequence[str]) -> None:
    """A mount at a directory of the root, with the tree's entries, in which files can be made.

    Where the kernel refuses an overlay over this part of the tree they are bound one by one.
    """
    above = f"merged{path}"
    os.makedirs(f"{above}/upper")
    os.mkdir(f"{above}/work")
    os.chmod(f"{above}/upper", os.stat(f"lower{path}").st_mode & 0o7777 | 0o700)
    try:
        _lay_over(f"lower{path}", above, f"root{path}")
    except OSError:
        sys_.mount(f"root{path}", f"root{path}", None, sys_.MS_BIND)
        _show(links, binds)


def own_tree(rootfs: str, stage: str) -> None:
    """The container's own tree as the root: what is written stays in it."""
    _stage(rootfs, stage, 0)
    os.mkdir("root")
    sys_.mount("lower", "root", None, sys_.MS_BIND)
    inroot.set_attributes("root", sys_.MOUNT_ATTR_NOSUID | sys_.MOUNT_ATTR_NODEV, False)
    os.chdir("root")


def _stage(rootfs: str, stage: str, size: int) -> None:
    """Memory at a place of the host, seen by this process alone, with the tree in it as ``lower``.

    Ends there as current directory.
    """
    os.chdir(rootfs)
    limit = f",size={size}" if size else ""
    sys_.mount("tmpfs", stage, "tmpfs", _QUIET, f"mode=0755{limit}")
    os.mkdir(f"{stage}/lower")
    sys_.mount(".", f"{stage}/lower", None, sys_.MS_BIND)
    os.chdir(stage)


def pivot(old: str) -> None:
    """Make the current directory the root; the old root stays at ``/old`` for a while.

    That place is below /proc, where memory is mounted until ``nsplaces.process_files`` puts
    /proc there, so that nothing is made in a tree that is kept.
    """
    inroot.make_real_directory("proc")
    sys_.mount("tmpfs", "proc", "tmpfs", _QUIET | sys_.MS_NOEXEC, "mode=0755,size=1m")
    os.mkdir(old, 0o700)
    sys_.pivot_root(".", old)
    os.chdir("/")


def read_only_root(parts: Sequence[str] = ()) -> None:
    """No more writes to the root itself, nor to those mounts that are a part of it.

    What else is mounted below it stays as it is.
    """
    for path in ("/", *parts):
        inroot.set_attributes(path, sys_.MOUNT_ATTR_RDONLY, recursive=False)

"""Runs inside the namespaces: executes an ordered list of operations, then the program.

An operation is a list of a word and its arguments, so that a whole container can be written
down as JSON: ``python -m cwl_userspace.nsinit LAUNCH DIRECTORY COMMAND...``, printed by ``run
--print-command``, does what ``cwl-userspace run`` does in a forked child. After ``pivot`` every
path is resolved by the kernel inside the new root, so that no link in an image leads out; sources
are reached through the old root, whose name nobody outside this process knows.
"""

from __future__ import annotations

import errno
import os

from cwl_userspace import inroot
from cwl_userspace.kernel import syscalls as sys_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
# chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw,
# sys_chroot, mknod, audit_write, setfcap.
_KEPT_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
# What the host's root can change for the whole host, whatever its capabilities; as in runc.
_HOST_WIDE = ("bus", "fs", "irq", "sys", "sysrq-trigger")
_ROOT_ONLY = ("sysrq-trigger", "sys/kernel/core_pattern")
_ATTEMPTS = 100
_QUIET = sys_.MS_NOSUID | sys_.MS_NODEV


class OperationFailed(Exception):
    """An operation failed: which, and why."""


def execute(operations: Sequence[Sequence[Any]]) -> None:
    """Do each operation in order; raise OperationFailed at the first that fails."""
    for word, *arguments in operations:
        try:
            OPERATIONS[word](*arguments)
        except OSError as error:
            about = f": {error.filename}" if isinstance(error.filename, str) else ""
            raise OperationFailed(f"{word}: {error.strerror}{about}") from None


def user_namespace(uid: int, gid: int, flags: int) -> None:
    """Enter new namespaces in which the caller appears as ``uid`` and ``gid``."""
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    for attempt in range(_ATTEMPTS):
        try:
            sys_.unshare(flags | sys_.CLONE_NEWUSER)
            break
        except OSError as error:
            # Only a process of one thread may: those of a fetch may be at their last step.
            if error.errno != errno.EINVAL or attempt == _ATTEMPTS - 1:
                raise
            sys_.libc().usleep(1000)
    # Without this the kernel lets no unprivileged user write a group map (user_namespaces(7)).
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {outside_uid} 1")
    _write("/proc/self/gid_map", f"{gid} {outside_gid} 1")


def mount_namespace(flags: int) -> None:
    """Enter the other namespaces; mounts of the host still arrive, none of ours goes out."""
    sys_.unshare(flags | sys_.CLONE_NEWNS)
    sys_.mount(None, "/", None, sys_.MS_REC | sys_.MS_SLAVE)


def overlay(rootfs: str, stage: str) -> None:
    """A private root over ``rootfs``, its writes in memory; ends in it as current directory.

    All paths that go into the mount's options are relative: a comma or colon in them would
    have a meaning there.
    """
    os.chdir(rootfs)
    sys_.mount("tmpfs", stage, "tmpfs", _QUIET, "mode=0755")
    os.mkdir(f"{stage}/lower")
    sys_.mount(".", f"{stage}/lower", None, sys_.MS_BIND)
    os.chdir(stage)
    for name in ("upper", "work", "root"):
        os.mkdir(name, 0o755)
    mode = os.stat("lower").st_mode & 0o7777
    os.chmod("upper", mode | 0o700)
    options = "lowerdir=lower,upperdir=upper,workdir=work"
    try:
        sys_.mount("overlay", "root", "overlay", _QUIET, options + ",userxattr")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        sys_.mount("overlay", "root", "overlay", _QUIET, options)
    os.chdir("root")


def assemble(rootfs: str, stage: str, view: dict[str, Any]) -> None:
    """A private root of directories in memory with the tree's parts bound read-only into it."""
    os.chdir(rootfs)
    sys_.mount("tmpfs", stage, "tmpfs", _QUIET, "mode=0755")
    os.mkdir(f"{stage}/lower")
    sys_.mount(".", f"{stage}/lower", None, sys_.MS_BIND)
    os.chdir(stage)
    os.mkdir("root", 0o755)
    for path in view["directories"]:
        os.makedirs(f"root{path}", exist_ok=True)
    for path, target in view["links"]:
        os.symlink(target, f"root{path}")
    for path in view["binds"]:
        inside = f"lower{path}"
        if os.path.isdir(inside):
            os.makedirs(f"root{path}", exist_ok=True)
        else:
            inroot.touch(f"root{path}")
        sys_.mount(inside, f"root{path}", None, sys_.MS_BIND)
        inroot.restrict(f"root{path}", read_only=True)
    os.chdir("root")
    sys_.mount(".", ".", None, sys_.MS_BIND | sys_.MS_REC)
    os.chdir(f"{stage}/root")


def own_tree(rootfs: str, stage: str) -> None:
    """The container's own tree as the root: what is written stays in it."""
    os.chdir(rootfs)
    sys_.mount("tmpfs", stage, "tmpfs", _QUIET, "mode=0755")
    os.mkdir(f"{stage}/root")
    sys_.mount(".", f"{stage}/root", None, sys_.MS_BIND)
    inroot.set_attributes(f"{stage}/root", sys_.MOUNT_ATTR_NOSUID | sys_.MOUNT_ATTR_NODEV, False)
    os.chdir(f"{stage}/root")


def pivot(old: str) -> None:
    """Make the current directory the root; the old root stays at ``/old`` until ``detach``."""
    os.mkdir(old, 0o700)
    sys_.pivot_root(".", old)
    os.chdir("/")


def detach(old: str) -> None:
    """Let go of the old root: from here on there is no way back to the host."""
    sys_.umount(f"/{old}", sys_.MNT_DETACH)
    os.rmdir(f"/{old}")


def bind(source: str, target: str, read_only: bool) -> None:
    """Show a place of the host at ``target``; what is missing on the way there is made."""
    if os.path.isdir(source):
        inroot.make_directory(target)
    else:
        inroot.make_file(target)
    sys_.mount(source, target, None, sys_.MS_BIND | sys_.MS_REC)
    inroot.restrict(target, read_only)


def devices(old: str, shm_size: int, console: str) -> None:
    """A minimal /dev: the devices that every program expects, no disk, terminals of its own."""
    inroot.make_real_directory("/dev")
    flags = sys_.MS_NOSUID | sys_.MS_NOEXEC
    sys_.mount("tmpfs", "/dev", "tmpfs", flags, "mode=0755,size=1m")
    for name in _DEVICES:
        inroot.touch(f"/dev/{name}")
        sys_.mount(f"/{old}/dev/{name}", f"/dev/{name}", None, sys_.MS_BIND)
    for name, target in _DEVICE_LINKS:
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/shm")
    sys_.mount("shm", "/dev/shm", "tmpfs", _QUIET, f"mode=1777,size={shm_size}")
    os.mkdir("/dev/pts")
    sys_.mount("devpts", "/dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=620")
    if console:
        inroot.touch("/dev/console")
        sys_.mount(f"/{old}{console}", "/dev/console", None, sys_.MS_BIND)


def process_files(old: str, fresh: bool) -> None:
    """/proc of this process name space; the host's where the kernel allows no fresh one.

    It does not where a part of the host's /proc is hidden, as in other containers
    (mount_too_revealing in fs/namespace.c).
    """
    inroot.make_real_directory("/proc")
    flags = sys_.MS_NOSUID | sys_.MS_NODEV | sys_.MS_NOEXEC
    if fresh:
        sys_.mount("proc", "/proc", "proc", flags)
    else:
        sys_.mount(f"/{old}/proc", "/proc", None, sys_.MS_BIND | sys_.MS_REC)
    # Only the host's real root may. For others a covered part would be in the way of containers
    # in this container, whose kernel check wants to see all of /proc.
    if any(os.access(f"/proc/{name}", os.W_OK) for name in _ROOT_ONLY):
        for place in (f"/proc/{name}" for name in _HOST_WIDE):
            if os.path.exists(place):
                sys_.mount(place, place, None, sys_.MS_BIND | sys_.MS_REC)
                inroot.restrict(place, read_only=True)


def private_directory(path: str) -> None:
    """An empty directory in memory that everybody can write."""
    inroot.make_directory(path)
    sys_.mount("tmpfs", path, "tmpfs", _QUIET, "mode=1777")


def directory(path: str, mode: int) -> None:
    """Make a directory if there is none."""
    try:
        os.stat(path)
    except FileNotFoundError:
        inroot.make_directory(path)
        os.chmod(path, mode)


def shared_directory(path: str) -> None:
    """A directory of the private root that everybody can write, whatever the image has there."""
    inroot.make_directory(path)
    if os.stat(path).st_mode & 0o1777 != 0o1777:
        os.chmod(path, 0o1777)


def private_file(path: str, text: str) -> None:
    """A file of our own in the private root, in place of whatever the image has there."""
    parent = os.path.dirname(path)
    inroot.make_directory(parent)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        data = text.encode("utf-8", "surrogateescape")
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)
    os.chmod(path, 0o644)


def bound_file(path: str, text: str) -> None:
    """A file of our own over whatever the image has there, which stays as it is below."""
    aside = f"/dev/.file-{os.path.basename(path)}"
    private_file(aside, text)
    inroot.make_file(path)
    sys_.mount(aside, path, None, sys_.MS_BIND)
    os.unlink(aside)


def drop_capabilities() -> None:
    """Root inside keeps what Docker leaves it (capabilities(7)), and so cannot undo a mount.

    Only the program is bound, since it executes; the keeper beside it is stronger and so cannot
    be traced by it.
    """
    for capability in range(64):
        if capability not in _KEPT_CAPABILITIES:
            try:
                sys_.prctl(sys_.PR_CAPBSET_DROP, capability)
            except OSError:
                # The kernel knows no more of them.
                return


def read_only_root() -> None:
    """No more writes to the root itself; what is mounted below it stays as it is."""
    inroot.set_attributes("/", sys_.MOUNT_ATTR_RDONLY, recursive=False)


def set_hostname(name: str) -> None:
    """Name this container's host."""
    sys_.sethostname(os.fsencode(name)[:64])


# What an engine without namespaces needs, in the process that is to become the container.


def restrict_writes(places: Sequence[str]) -> None:
    """Allow writes to these places only, and to the files that are standard output and error."""
    from cwl_userspace.kernel.landlock import restrict_writes as restrict
    from cwl_userspace.script import reopened_streams

    restrict([*places, *reopened_streams()])


def untranslated_paths() -> None:
    """Have system calls that proot lets through untranslated answer that they do not exist."""
    from cwl_userspace.kernel import seccomp

    seccomp.install(seccomp.untranslated_paths(os.uname().machine))


def no_network() -> None:
    """Have every socket of the internet refused: the network is not to be reached."""
    from cwl_userspace.kernel import seccomp

    seccomp.install(seccomp.no_network(os.uname().machine))


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


OPERATIONS: dict[str, Callable[..., None]] = {
    "user_namespace": user_namespace,
    "mount_namespace": mount_namespace,
    "overlay": overlay,
    "assemble": assemble,
    "own_tree": own_tree,
    "pivot": pivot,
    "bind": bind,
    "devices": devices,
    "process_files": process_files,
    "private_directory": private_directory,
    "directory": directory,
    "shared_directory": shared_directory,
    "private_file": private_file,
    "bound_file": bound_file,
    "detach": detach,
    "read_only_root": read_only_root,
    "drop_capabilities": drop_capabilities,
    "hostname": set_hostname,
    "loopback": sys_.loopback_up,
    "no_new_privileges": sys_.set_no_new_privs,
    "restrict_writes": restrict_writes,
    "untranslated_paths": untranslated_paths,
    "no_network": no_network,
}

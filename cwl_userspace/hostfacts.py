"""Read what a plan needs from this host and from an image's tree."""

from __future__ import annotations

import os

from cwl_userspace.accounts import Accounts
from cwl_userspace.image.confine import Missing, Root, split
from cwl_userspace.plan import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LARGEST = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def host(environ: Mapping[str, str], network_off: bool) -> Host:
    """The caller and this host; the files that DNS needs only if the network is on.

    The caller's name is taken from the environment: the account data base may be a slow server.
    """
    name = environ.get("USER") or environ.get("LOGNAME") or ""
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        name = "user"
    return Host(
        uid=os.geteuid(),
        gid=os.getegid(),
        user=name,
        hostname=os.uname().nodename,
        resolv_conf=None if network_off else _host_file("/etc/resolv.conf"),
        hosts=None if network_off else _host_file("/etc/hosts"),
        nsswitch=None if network_off else _host_file("/etc/nsswitch.conf"),
    )


def accounts(rootfs: str) -> Accounts:
    """The image's accounts; a link in the image that leads out is followed inside."""
    root = Root(rootfs)
    try:
        passwd, group = _inside(root, b"etc/passwd"), _inside(root, b"etc/group")
        return Accounts(passwd, group, _has_directory(root, b"etc/apt/apt.conf.d"))
    finally:
        root.close()


def _has_directory(root: Root, path: bytes) -> bool:
    try:
        root.open_directory(split(path), None).close()
    except (Missing, OSError):
        return False
    return True


def _inside(root: Root, path: bytes, links: int = 8) -> str:
    """The text of a file in a tree, or nothing where there is no readable one."""
    *directory, name = split(path)
    try:
        walked = root.open_directory(directory, None)
    except (Missing, OSError):
        return ""
    try:
        target = _link(walked.fd, name)
        if target is None:
            fd = os.open(name, _READ, dir_fd=walked.fd)
            with open(fd, encoding="utf-8", errors="surrogateescape") as file:
                return file.read(_LARGEST)
        if not target.startswith(b"/"):
            target = b"/".join((*walked.parts, target))
    except OSError:
        return ""
    finally:
        walked.close()
    return _inside(root, target, links - 1) if links else ""


def _link(fd: int, name: bytes) -> bytes | None:
    try:
        return os.readlink(name, dir_fd=fd)
    except OSError:
        return None


def _host_file(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(_LARGEST)
    except OSError:
        return None

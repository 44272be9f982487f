"""Who the program is to the kernel, and what it may ask of it."""

from __future__ import annotations

import errno
import os

from cwl_userspace.kernel import syscalls as sys_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# What root in a container may do there, which is what Docker leaves it, with the numbers of
# linux/capability.h.
KEPT_CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_RAW": 13,
    "CAP_SYS_CHROOT": 18,
    "CAP_MKNOD": 27,
    "CAP_AUDIT_WRITE": 29,
    "CAP_SETFCAP": 31,
}
_ATTEMPTS = 100


def user_namespace(uid: int, gid: int, flags: int) -> None:
    """Enter new namespaces in which the caller appears as ``uid`` and ``gid``."""
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    _unshare(flags | sys_.CLONE_NEWUSER)
    # Without this the kernel lets no unprivileged user write a group map (user_namespaces(7)).
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {outside_uid} 1")
    _write("/proc/self/gid_map", f"{gid} {outside_gid} 1")


def mapped_user_namespace(
    uids: Sequence[Sequence[int]],
    gids: Sequence[Sequence[int]],
    programs: Sequence[str],
    flags: int,
) -> None:
    """Enter new namespaces with many ids: lists of first inside, first outside, how many.

    Only somebody with rights in the namespace that is left may write such maps: real root, or
    the ``programs`` newuidmap and newgidmap, which let users have what /etc/subuid and
    /etc/subgid give them.
    """
    go_in, go_out = os.pipe()
    said_in, said_out = os.pipe()
    me = os.getpid()
    helper = os.fork()
    if helper == 0:
        try:
            os.close(go_out)
            os.dup2(said_out, 2)
            if os.read(go_in, 1):
                _map(me, uids, gids, programs)
            os._exit(0)
        except OSError as error:
            os.write(2, str(error).encode())
        finally:
            os._exit(1)
    os.close(go_in)
    os.close(said_out)
    try:
        _unshare(flags | sys_.CLONE_NEWUSER)
        os.write(go_out, b"1")
    finally:
        os.close(go_out)
        with open(said_in, "rb") as said:
            complaint = said.read().decode("utf-8", "replace").strip()
        _, status = os.waitpid(helper, 0)
    if status:
        raise OSError(errno.EPERM, f"the ids cannot be mapped: {complaint}")


def _map(
    pid: int,
    uids: Sequence[Sequence[int]],
    gids: Sequence[Sequence[int]],
    programs: Sequence[str],
) -> None:
    """In the namespace that process ``pid`` has left: write its maps."""
    if not programs:
        for kind, ranges in (("uid", uids), ("gid", gids)):
            text = "\n".join(" ".join(map(str, numbers)) for numbers in ranges)
            _write(f"/proc/{pid}/{kind}_map", text)
        return
    for program, ranges in zip(programs, (uids, gids), strict=True):
        words = [str(number) for numbers in ranges for number in numbers]
        child = os.fork()
        if child == 0:
            try:
                os.execve(program, [program, str(pid), *words], {})
            finally:
                os._exit(1)
        if os.waitpid(child, 0)[1]:
            os._exit(1)


def identity(uid: int, gid: int, groups: Sequence[int] | None) -> None:
    """Become a user for good; ``groups`` None leaves the supplementary groups as they are."""
    if groups is not None:
        os.setgroups(list(groups))
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _unshare(flags: int) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            sys_.unshare(flags)
            return
        except OSError as error:
            # Only a process of one thread may: those of a fetch may be at their last step.
            if error.errno != errno.EINVAL or attempt == _ATTEMPTS - 1:
                raise
            sys_.libc().usleep(1000)


def drop_capabilities(also: Sequence[int] = ()) -> None:
    """Root inside keeps what Docker leaves it (capabilities(7)), and so cannot undo a mount.

    ``also`` names further ones to drop. Only the program is bound, since it executes; the keeper
    beside it is stronger and so cannot be traced by it.
    """
    for capability in range(64):
        if capability not in KEPT_CAPABILITIES.values() or capability in also:
            try:
                sys_.prctl(sys_.PR_CAPBSET_DROP, capability)
            except OSError:
                # The kernel knows no more of them.
                return


def install_filter(code: str) -> None:
    """Go under a seccomp filter, given as the hexadecimal text of its instructions."""
    sys_.install_filter(bytes.fromhex(code))


def set_hostname(name: str) -> None:
    """Name this container's host."""
    sys_.sethostname(os.fsencode(name)[:64])


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)

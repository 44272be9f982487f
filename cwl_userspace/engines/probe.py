"""Find out what this host allows, by trying it in a child, and remember the answer."""

from __future__ import annotations

import json
import os

from cwl_userspace import __version__, nsidentity, nsroot
from cwl_userspace.kernel import syscalls as sys_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LIMIT = 1 << 16
_FLAGS = sys_.CLONE_NEWPID | sys_.CLONE_NEWIPC | sys_.CLONE_NEWUTS | sys_.CLONE_NEWNET
UNKNOWN_MACHINE = "only x86_64 and aarch64 are known, and this machine is another"


def remembered(cache: str, name: str, about: str, probe: Callable[[], Any]) -> Any:
    """The answer of ``probe`` for this boot, kernel, user and name space, kept in ``cache``."""
    path = os.path.join(cache, f"probe-{name}-{os.uname().nodename}.json")
    key = _circumstances(about)
    try:
        with open(path, "rb") as file:
            kept = json.loads(file.read(_LIMIT))
        if kept["key"] == key:
            return kept["answer"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    answer = probe()
    remember(path, key, answer)
    return answer


def remember(path: str, key: list[str], answer: Any) -> None:
    """Keep an answer; where nothing can be written the next start probes again."""
    aside = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump({"key": key, "answer": answer}, file)
        os.replace(aside, path)
    except OSError:
        pass


def forget(cache: str, name: str) -> None:
    """Have the next start probe again."""
    try:
        os.unlink(os.path.join(cache, f"probe-{name}-{os.uname().nodename}.json"))
    except OSError:
        pass


def _circumstances(about: str) -> list[str]:
    """What an answer depends on: our version, the boot, the user, the name space, switches."""
    return [
        __version__,
        about,
        str(os.geteuid()),
        os.uname().release,
        _text("/proc/sys/kernel/random/boot_id"),
        _text("/proc/sys/user/max_user_namespaces"),
        _namespace("user"),
        _namespace("mnt"),
    ]


def _namespace(kind: str) -> str:
    try:
        return os.readlink(f"/proc/self/ns/{kind}")
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(200).strip()
    except OSError:
        return ""


def in_child(probe: Callable[[], Any]) -> Any:
    """What ``probe`` returns in a forked child, as JSON; None if the child died."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write_end, json.dumps(probe()).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as file:
        answer = file.read()
    os.waitpid(pid, 0)
    return json.loads(answer) if answer else None


def namespaces(place: str) -> dict[str, Any]:
    """What the engine ``userns`` can do here; ``place`` is on the store's file system."""

    def enter() -> str:
        try:
            nsidentity.user_namespace(os.geteuid(), os.getegid(), _FLAGS)
        except OSError as error:
            return f"user namespaces are not allowed here: {error.strerror}{why_not()}"
        return ""

    return {**_examined(place, enter), "ids": _ids()}


def root_namespaces(place: str) -> dict[str, Any]:
    """What the engine ``chroot`` can do here; ``place`` is on the store's file system."""

    def enter() -> str:
        if os.geteuid() != 0:
            return f"only root can use it, and this is user {os.geteuid()}"
        from cwl_userspace import subids

        if subids.mappable()["reason"]:
            return "this root has no other ids that a program could have"
        try:
            if _mounts_are_seen():
                return (
                    "what is mounted in this chroot is seen outside of it:"
                    " bind mount the chroot upon itself and make that mount private"
                )
            sys_.unshare(_FLAGS)
        except OSError as error:
            return f"this root may not make name spaces: {error.strerror}"
        return ""

    return _examined(place, enter)


def _mounts_are_seen() -> bool:
    """Whether a mount of ours would be one of the host's too.

    Where the root is a mount it can be cut off from the host. In a chroot it may not be one, and
    then only an attempt tells: a file system in memory is mounted for a moment, on a directory
    that was made for it.
    """
    place = f"/.cwl-userspace-probe-{os.getpid()}"
    told_in, told_out = os.pipe()
    go_in, go_out = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(go_out)
            sys_.unshare(sys_.CLONE_NEWNS)
            try:
                sys_.mount(None, "/", None, sys_.MS_REC | sys_.MS_SLAVE)
            except OSError:
                os.mkdir(place, 0o700)
                sys_.mount("tmpfs", place, "tmpfs", 0, "size=4k")
                os.write(told_out, b"1")
                os.read(go_in, 1)
                sys_.umount(place, sys_.MNT_DETACH)
        finally:
            os._exit(0)
    os.close(told_out)
    os.close(go_in)
    mounted = os.read(told_in, 1)
    seen = bool(mounted) and os.stat(place).st_dev != os.stat("/").st_dev
    os.close(go_out)
    os.close(told_in)
    os.waitpid(child, 0)
    if mounted:
        os.rmdir(place)
    return seen


def _examined(place: str, enter: Callable[[], str]) -> dict[str, Any]:
    """What can be mounted after ``enter``, which says why it cannot be done if so."""
    nothing = {"overlay": False, "fresh_proc": False, "memory": False, "overlay_reason": ""}
    if not sys_.known_machine():
        return {**nothing, "reason": UNKNOWN_MACHINE}

    def inside() -> dict[str, Any]:
        reason = enter()
        if reason:
            return {"reason": reason}
        return in_child(lambda: _mounts(place)) or {"reason": "the probe of mounts died"}

    return {**nothing, **(in_child(inside) or {"reason": "the probe died"})}


def _mounts(place: str) -> dict[str, Any]:
    """Runs as process 1 of the new name spaces."""
    try:
        nsroot.mount_namespace(0)
        sys_.mount("tmpfs", place, "tmpfs", 0, "mode=0755,size=1m")
        sys_.umount(place, sys_.MNT_DETACH)
    except OSError as error:
        return {"reason": f"nothing can be mounted in name spaces here: {error.strerror}"}
    facts: dict[str, Any] = {"reason": "", "overlay": True, "fresh_proc": True, "memory": True}
    try:
        sys_.mount("proc", "/proc", "proc", sys_.MS_NOSUID | sys_.MS_NODEV | sys_.MS_NOEXEC)
    except OSError:
        facts["fresh_proc"] = False
    try:
        nsroot.overlay(place, place)
        os.mkdir("probe")
        os.rmdir("probe")
    except OSError as error:
        facts.update(overlay=False, overlay_reason=error.strerror or "")
    else:
        facts["memory"] = _takes_attributes("../upper")
    return facts


def _takes_attributes(upper: str) -> bool:
    """Whether an overlay of users may write there all it needs: tmpfs only since Linux 6.6.

    Without them a directory that is removed and made again shows what it had before.
    """
    try:
        os.setxattr(upper, "user.overlay.probe", b"y")
    except OSError:
        return False
    return True


def _ids() -> dict[str, Any]:
    """The ids that root in a container may have, if mapping them really works here."""
    from cwl_userspace import subids

    found = subids.mappable()
    if found["reason"]:
        return found

    def mapped() -> str:
        try:
            nsidentity.mapped_user_namespace(found["uids"], found["gids"], found["programs"], 0)
            os.setgroups([])
            os.setresgid(1, 1, 1)
            os.setresuid(1, 1, 1)
        except OSError as error:
            return error.strerror or "not allowed"
        return ""

    reason = in_child(mapped)
    return found if reason == "" else {**found, "reason": reason or "the probe of ids died"}


def why_not() -> str:
    """The switch that forbids user namespaces, if one of the usual ones does."""
    switches = (
        ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces is 0"),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "kernel.unprivileged_userns_clone is 0",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "AppArmor restricts them (kernel.apparmor_restrict_unprivileged_userns is 1)",
        ),
    )
    reasons = [text for path, value, text in switches if _text(path) == value]
    return f" ({reasons[0]})" if reasons else ""

"""An OCI bundle's config.json (runtime specification 1.0.2) for a container of ours."""

from __future__ import annotations

import os

from cwl_userspace.engines.bound import SHIM
from cwl_userspace.errors import EngineError
from cwl_userspace.nsidentity import KEPT_CAPABILITIES
from cwl_userspace.nsplaces import HOST_WIDE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cwl_userspace.engines.bound import Bind, Bound
    from cwl_userspace.spec import ContainerSpec

# What Docker hides of /proc; what it keeps from being written there is HOST_WIDE.
_MASKED = (
    *("acpi", "asound", "kcore", "keys", "latency_stats", "sched_debug", "scsi"),
    *("timer_list", "timer_stats"),
)
_TO_MAP = ("CAP_SETFCAP",)
_NAMESPACES = ("user", "pid", "ipc", "uts", "mount")


def config(spec: ContainerSpec, plan: Bound, fresh_proc: bool, recursive: bool) -> dict[str, Any]:
    """The configuration that starts the status shim in the root of ``plan``, as plain values.

    User and group 0 inside are the caller, since a runtime wants to set up as root: who is to be
    another becomes so by the shim, which may map that 0 only with CAP_SETFCAP (Linux 5.12).
    ``recursive``: the runtime knows ``rro`` and its kin.
    """
    is_root = (spec.identity.uid, spec.identity.gid) == (0, 0)
    return minimal(
        root=plan.root,
        read_only=spec.read_only,
        args=[SHIM],
        cwd=_place(spec.working_dir),
        capabilities=tuple(KEPT_CAPABILITIES) if is_root else _TO_MAP,
        hostname=os.fsdecode(os.fsencode(spec.hostname)[:64]),
        network_off=spec.network_off,
        fresh_proc=fresh_proc,
        shm_size=spec.shm_size,
        tree=[_mount(bind, plan, recursive) for bind in plan.tree()],
        asked=[_mount(bind, plan, recursive) for bind in plan.asked()],
    )


def minimal(
    root: str,
    args: list[str],
    read_only: bool = True,
    cwd: str = "/",
    capabilities: tuple[str, ...] = (),
    hostname: str = "",
    network_off: bool = True,
    fresh_proc: bool = True,
    shm_size: int = 0,
    tree: list[dict[str, Any]] | None = None,
    asked: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A configuration from plain words; ``tree`` is mounted before /proc and /dev, ``asked`` after.

    Nothing of it has to do with control groups: a user without rights has none.
    """
    namespaces = [*_NAMESPACES, *(["network"] if network_off else [])]
    kinds = ("bounding", "effective", "permitted")
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": [],
            "cwd": cwd,
            "capabilities": {kind: list(capabilities) for kind in kinds},
            "noNewPrivileges": True,
        },
        "root": {"path": root, "readonly": read_only},
        **({"hostname": hostname} if hostname else {}),
        "mounts": [*(tree or []), *_own_mounts(fresh_proc, shm_size), *(asked or [])],
        "linux": {
            "uidMappings": [{"containerID": 0, "hostID": os.geteuid(), "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": os.getegid(), "size": 1}],
            "namespaces": [{"type": kind} for kind in namespaces],
            "maskedPaths": [f"/proc/{name}" for name in _MASKED if fresh_proc],
            "readonlyPaths": [f"/proc/{name}" for name in HOST_WIDE if fresh_proc],
        },
    }


def _own_mounts(fresh_proc: bool, shm_size: int) -> list[dict[str, Any]]:
    quiet = ["nosuid", "noexec"]
    sized = [f"size={shm_size}"] if shm_size else []
    terminals = ["newinstance", "ptmxmode=0666", "mode=0620"]
    return [
        _file_system("/proc", "proc", [*quiet, "nodev"])
        if fresh_proc
        else {"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]},
        _file_system("/dev", "tmpfs", [*quiet, "mode=755", "size=1m"]),
        _file_system("/dev/pts", "devpts", [*quiet, *terminals]),
        _file_system("/dev/shm", "tmpfs", ["nosuid", "nodev", "mode=1777", *sized]),
    ]


def _file_system(place: str, kind: str, options: list[str]) -> dict[str, Any]:
    return {"destination": place, "type": kind, "source": kind, "options": options}


def _mount(bind: Bind, plan: Bound, recursive: bool) -> dict[str, Any]:
    # crun takes what is changed recursively for a directory; below a file there is nothing.
    prefix = "r" if recursive and bind.directory else ""
    options = ["rbind", f"{prefix}nosuid"]
    if not bind.device:
        options.append(f"{prefix}nodev")
    if bind.read_only:
        options.append(f"{prefix}ro")
    return {
        "destination": _place(bind.place),
        "type": "bind",
        "source": bind.source if _is_text(bind.source) else plan.linked(bind.source),
        "options": options,
    }


def _place(path: str) -> str:
    """A place in the container, if JSON can say it."""
    if not _is_text(path):
        raise EngineError(
            f"a runtime of OCI cannot be told of {path!r}: the name is not UTF-8",
            "choose another engine or another name",
        )
    return path


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True

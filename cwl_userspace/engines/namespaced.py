"""What the engines ``userns`` and ``chroot`` have in common: a root in name spaces of its own.

The root is an overlay over the stored tree whose writes go to memory or to a private directory.
Where nothing is to be written, or the kernel has no overlay for this user, it is put together from
read-only binds: through an overlay each look at a file takes half as long again.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

from cwl_userspace.engines.base import EMULATED_ROOT, PRIVATE_PIDS, PROMISES, Launch
from cwl_userspace.engines.view import View
from cwl_userspace.kernel import syscalls as sys_
from cwl_userspace.kernel.ownership import is_ours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.settings import Settings
    from cwl_userspace.spec import ContainerSpec

_OUTER = sys_.CLONE_NEWPID | sys_.CLONE_NEWIPC | sys_.CLONE_NEWUTS
_WRITABLE = ("/tmp", "/var/tmp")
# A root of more binds than this takes longer to make than an overlay.
_MOST_BINDS = 150


def nearest_directory(path: str) -> str:
    """A place on a path's file system that is there: before the first pull there is no store."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


class Namespaced(ABC):
    """An engine of name spaces. What its probe found is given to it, so that a launch is pure."""

    name = ""

    def __init__(self, facts: Mapping[str, Any], settings: Settings) -> None:
        self._facts = facts
        self._upper = settings.root_upper
        self._size = settings.root_size

    def unavailable(self) -> str | None:
        """Why this engine cannot be used here; None if it can."""
        return self._facts["reason"] or None

    def promises(self) -> Mapping[str, str]:
        """Everything, but for what needs a fresh /proc or an overlay where there is none."""
        kept = dict.fromkeys(PROMISES, "")
        if not self._facts["fresh_proc"]:
            kept[PRIVATE_PIDS] = "the kernel allows no fresh /proc here, so the host's is shown"
        if not self._facts["overlay"]:
            kept[EMULATED_ROOT] = "no overlay here, so the image's own files cannot be changed"
        return kept

    def notes(self) -> list[str]:
        """What is done in the second best way here."""
        if self._facts["overlay"]:
            return []
        reason = self._facts["overlay_reason"] or "the kernel has none for users"
        return [f"no overlay here ({reason}): the root is of read-only binds"]

    def copies(self, spec: ContainerSpec) -> bool:
        """True if what is written goes to the run's private directory."""
        return bool(self._disk(spec, "/"))

    def launch(self, spec: ContainerSpec, private: str) -> Launch:
        """The operations that make this container; ``private`` lends a random name, or room."""
        old = f"proc/.old-{os.path.basename(private)}"
        disk = self._disk(spec, private)
        file_word = "bound_file" if spec.own_tree else "private_file"
        placeholders = [path for path, _ in spec.files] if spec.own_tree else []
        root = self._root(spec, disk)
        merged = [part["path"] for part in root[3]["merged"]] if root[0] == "assemble" else []
        flags = _OUTER | (sys_.CLONE_NEWNET if spec.network_off else 0)
        return Launch(
            engine=self.name,
            argv=spec.argv,
            environment=spec.environment,
            working_dir=spec.working_dir,
            namespaces=True,
            prepare=[["make_directory", disk, 0o700]] if disk else [],
            private=disk,
            before=[self._namespaces(spec, flags)],
            inside=[
                ["mount_namespace", 0],
                root,
                ["pivot", old],
                ["devices", old, spec.shm_size, ""],
                *self._places(spec, disk),
                *(["bind", f"/{old}{m.source}", m.target, m.read_only] for m in spec.mounts),
                *(["device", f"/{old}{d.source}", d.target] for d in spec.devices),
                *([file_word, path, text] for path, text in spec.files),
                ["directory", spec.working_dir, 0o755],
                ["process_files", old, self._facts["fresh_proc"]],
                *([["read_only_root", merged]] if spec.read_only else []),
                ["hostname", spec.hostname],
                *([["loopback"]] if spec.network_off else []),
                ["drop_capabilities", self._dropped()],
                ["no_new_privileges"],
            ],
            last=self._last(spec),
            after=[["remove_placeholder", path] for path in placeholders],
            terminal=spec.tty,
            limits=spec.limits.to_json(),
        )

    @abstractmethod
    def _namespaces(self, spec: ContainerSpec, flags: int) -> list[Any]:
        """The operation that enters all name spaces but that of mounts."""

    @abstractmethod
    def _last(self, spec: ContainerSpec) -> list[list[Any]]:
        """What the program's process does at the end: who it is, and what it may ask for."""

    def _dropped(self) -> list[int]:
        """Capabilities that are dropped besides those that Docker drops."""
        return []

    def _root(self, spec: ContainerSpec, disk: str) -> list[Any]:
        stage = os.path.dirname(spec.rootfs)
        if spec.own_tree:
            return ["own_tree", spec.rootfs, stage]
        size = 0 if disk else spec.root_size or self._size
        if self._facts["overlay"] and not spec.read_only:
            return ["overlay", spec.rootfs, stage, disk, size, *_made(spec)]
        view = _view(spec, merge=bool(self._facts["overlay"]))
        if self._facts["overlay"] and len(view["binds"]) > _MOST_BINDS:
            return ["overlay", spec.rootfs, stage, disk, size, *_made(spec)]
        return ["assemble", spec.rootfs, stage, view, size]

    def _places(self, spec: ContainerSpec, disk: str) -> list[list[Any]]:
        """/tmp and its kin exist and can be written, in memory where the root cannot.

        Of their own they are written to faster than through an overlay. They stay a part of it
        where it is on disk, where its size is counted, where the image has something there, and
        for root, whose installers move and link files from there.
        """
        mounted = {mount.target for mount in spec.mounts}
        in_root = spec.own_tree or self._facts["overlay"]
        whole = spec.own_tree or disk or spec.root_size or self._size
        whole = whole or spec.identity.emulate_root
        found: list[list[Any]] = []
        for path in _WRITABLE:
            if path in mounted:
                continue
            shared = in_root and (whole or not _empty(spec.rootfs + path))
            word = "shared_directory" if shared and not spec.read_only else "private_directory"
            found.append([word, path])
        return found

    def _disk(self, spec: ContainerSpec, private: str) -> str:
        """The directory for what is written to the root: as set, else where memory is too small.

        Empty where it goes to memory, or to the tree itself. On disk nobody counts, so a size
        that was asked for is not kept there.
        """
        if spec.own_tree or spec.read_only or not self._facts["overlay"]:
            return ""
        if os.path.isabs(self._upper):
            return os.path.join(self._upper, os.path.basename(private))
        if self._upper != "auto":
            return private if self._upper == "disk" else ""
        size = spec.root_size or self._size
        fits = self._facts["memory"] and size <= _half_of_memory(size)
        return "" if fits else private


def _half_of_memory(size: int) -> int:
    """What a file system in memory may hold by itself (tmpfs(5)); asked for only with a size."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if size else 0


def _empty(path: str) -> bool:
    """True for a directory of the tree that has nothing in it, or is not there; not for a link."""
    if os.path.islink(path):
        return False
    try:
        return not os.listdir(path)
    except FileNotFoundError:
        return not os.path.islink(os.path.dirname(path))
    except OSError:
        return False


def _made(spec: ContainerSpec) -> list[list[tuple[str, int]]]:
    """The directories that an overlay needs of its own above a tree of another user or group.

    They are those in which something is to be made.
    """
    if is_ours(spec.rootfs):
        return []
    view = View(spec.rootfs)
    for path in _WRITABLE:
        view.expand(view.resolve(path))
    found = []
    for path in _view(spec, view=view)["directories"]:
        place = spec.rootfs + path
        if path != "/" and os.path.isdir(place):
            found.append((path, os.stat(place).st_mode & 0o1777))
    return [found]


def _view(spec: ContainerSpec, merge: bool = False, view: View | None = None) -> dict[str, Any]:
    """What to assemble: room for every mount point, file and directory that is to be made."""
    view = view or View(spec.rootfs)
    for path in ("/dev", "/proc", *_WRITABLE, spec.working_dir):
        place = view.resolve(path)
        if not os.path.isdir(view.host(place)):
            view.expand(place)
    for mount in spec.mounts:
        view.bind(view.resolve(mount.target), mount.source, os.path.isdir(mount.source))
    for path, _ in spec.files:
        above, name = os.path.split(path)
        view.leave_out(os.path.join(view.resolve(above), name))
    return view.parts(merge)

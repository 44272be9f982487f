"""Unprivileged user, mount, pid, ipc, uts and network namespaces, in this interpreter.

The root is an overlay over the stored tree whose writes go to memory or to a private directory;
where the kernel has no overlay for users (before 5.11) it is put together from read-only binds.
Root is emulated by a seccomp filter, or has real ids of its own where nothing of theirs can be
left behind for somebody who has no right to remove it.
"""

from __future__ import annotations

import os

from cwl_userspace.engines import probe
from cwl_userspace.engines.base import EMULATED_ROOT, PRIVATE_PIDS, PROMISES, Launch
from cwl_userspace.engines.view import View
from cwl_userspace.errors import EngineError
from cwl_userspace.kernel import syscalls as sys_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.settings import Settings
    from cwl_userspace.spec import ContainerSpec

_OUTER = sys_.CLONE_NEWPID | sys_.CLONE_NEWIPC | sys_.CLONE_NEWUTS
_WRITABLE = ("/tmp", "/var/tmp")


def engine(settings: Settings, environ: Mapping[str, str]) -> Engine:
    """The engine with what its probe found or remembers."""
    place = settings.store
    while not os.path.isdir(place):  # before the first pull there is no store
        place = os.path.dirname(place)
    about = f"{place} {_edition()}"
    facts = probe.remembered(settings.cache, "userns", about, lambda: _examine(place))
    return Userns(facts, settings.root_upper, settings.root_size, settings.root_ids)


def _examine(place: str) -> dict[str, Any]:
    """What the host allows, and the filters: to assemble them takes longer than to read them."""
    facts = probe.namespaces(place)
    if not facts["reason"]:
        from cwl_userspace.kernel.containerfilter import container

        machine = os.uname().machine
        facts["filter"] = container(machine, emulate_root=False).hex()
        facts["root_filter"] = container(machine, emulate_root=True).hex()
    return facts


def _edition() -> str:
    """Another one whenever the modules that make the filters are others."""
    above = os.path.dirname(sys_.__file__)
    names = ("containerfilter", "rootfilter", "seccomp", "numbers")
    found = [os.stat(f"{above}/{name}.py") for name in names]
    return " ".join((above, *(f"{one.st_size}.{one.st_mtime_ns}" for one in found)))


class Userns:
    """The engine ``userns``. What its probe found is given to it, so that a launch is pure.

    ``upper``, ``size`` and ``ids`` are the settings ``root_upper``, ``root_size`` and
    ``root_ids``.
    """

    name = "userns"

    def __init__(
        self, facts: Mapping[str, Any], upper: str = "auto", size: int = 0, ids: str = "auto"
    ) -> None:
        self._facts = facts
        self._upper = upper
        self._size = size
        self._ids = ids

    def unavailable(self) -> str | None:
        """Why user namespaces cannot be used here; None if they can."""
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
        notes = []
        if not self._facts["overlay"]:
            reason = self._facts.get("overlay_reason") or "the kernel has none for users"
            notes.append(f"no overlay here ({reason}): the root is of read-only binds")
        if self._facts["ids"]["reason"]:
            notes.append(f"root in a container has one id: {self._facts['ids']['reason']}")
        return notes

    def copies(self, spec: ContainerSpec) -> bool:
        """True if what is written goes to the run's private directory."""
        return bool(self._disk(spec, "/"))

    def launch(self, spec: ContainerSpec, private: str) -> Launch:
        """The operations that make this container; ``private`` lends a random name, or room."""
        old = f"proc/.old-{os.path.basename(private)}"
        stage = os.path.dirname(spec.rootfs)
        disk = self._disk(spec, private)
        ids = self._mapped_ids(spec, kept=bool(disk) or spec.own_tree)
        emulated = spec.identity.emulate_root and ids is None
        file_word = "bound_file" if spec.own_tree else "private_file"
        after = [["remove_placeholder", path] for path, _ in spec.files if spec.own_tree]
        return Launch(
            engine=self.name,
            argv=spec.argv,
            environment=spec.environment,
            working_dir=spec.working_dir,
            namespaces=True,
            prepare=[["make_directory", disk, 0o700]] if disk else [],
            private=disk,
            before=[_user_namespace(spec, ids)],
            inside=[
                ["mount_namespace", 0],
                self._root(spec, stage, disk),
                ["pivot", old],
                ["devices", old, spec.shm_size, ""],
                *_places(spec, writable=spec.own_tree or self._facts["overlay"]),
                *(["bind", f"/{old}{m.source}", m.target, m.read_only] for m in spec.mounts),
                *(["device", f"/{old}{d.source}", d.target] for d in spec.devices),
                *([file_word, path, text] for path, text in spec.files),
                ["directory", spec.working_dir, 0o755],
                ["process_files", old, self._facts["fresh_proc"]],
                *([["read_only_root"]] if spec.read_only else []),
                ["hostname", spec.hostname],
                *([["loopback"]] if spec.network_off else []),
                ["drop_capabilities"],
                ["no_new_privileges"],
            ],
            last=[
                *([["identity", spec.identity.uid, spec.identity.gid, None]] if ids else []),
                ["filter", self._facts["root_filter" if emulated else "filter"]],
            ],
            after=after,
            terminal=spec.tty,
            limits=spec.limits.to_json(),
        )

    def _root(self, spec: ContainerSpec, stage: str, disk: str) -> list[Any]:
        if spec.own_tree:
            return ["own_tree", spec.rootfs, stage]
        size = 0 if disk else spec.root_size or self._size
        if self._facts["overlay"]:
            return ["overlay", spec.rootfs, stage, disk, size]
        return ["assemble", spec.rootfs, stage, _view(spec), size]

    def _disk(self, spec: ContainerSpec, private: str) -> str:
        """The directory for what is written to the root: as set, else where memory is too small.

        Empty where it goes to memory, or to the tree itself. On disk nobody counts, so a size
        that was asked for is not kept there.
        """
        if spec.own_tree or not self._facts["overlay"]:
            return ""
        if os.path.isabs(self._upper):
            return os.path.join(self._upper, os.path.basename(private))
        if self._upper != "auto":
            return private if self._upper == "disk" else ""
        size = spec.root_size or self._size
        fits = self._facts["memory"] and size <= _half_of_memory(size)
        return "" if fits else private

    def _mapped_ids(self, spec: ContainerSpec, kept: bool) -> dict[str, Any] | None:
        """The ids that this container's root has, if more than one.

        Files of other owners than the user's can only be removed from within such a namespace.
        So unless it is set otherwise they are made where none can be left: in memory, with no
        place of the host to write to. Real root can remove all.
        """
        if not spec.identity.emulate_root or self._ids == "emulated":
            return None
        ids: dict[str, Any] = self._facts["ids"]
        if ids["reason"]:
            if self._ids == "mapped":
                raise EngineError(
                    f"root cannot be given ids of its own: {ids['reason']}",
                    "set root_ids to auto, or ask for subordinate ids",
                )
            return None
        kept = kept or not all(mount.read_only for mount in spec.mounts)
        return None if self._ids == "auto" and ids["programs"] and kept else ids


def _user_namespace(spec: ContainerSpec, ids: Mapping[str, Any] | None) -> list[Any]:
    flags = _OUTER | (sys_.CLONE_NEWNET if spec.network_off else 0)
    if ids is None:
        return ["user_namespace", spec.identity.uid, spec.identity.gid, flags]
    return ["mapped_user_namespace", ids["uids"], ids["gids"], ids["programs"], flags]


def _half_of_memory(size: int) -> int:
    """What a file system in memory may hold by itself (tmpfs(5)); asked for only with a size."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if size else 0


def _places(spec: ContainerSpec, writable: bool) -> list[list[Any]]:
    """/tmp and its kin exist and can be written, in memory where the root cannot."""
    mounted = {mount.target for mount in spec.mounts}
    places = [path for path in _WRITABLE if path not in mounted]
    if spec.read_only or not writable:
        return [["private_directory", path] for path in places]
    return [["shared_directory", path] for path in places]


def _view(spec: ContainerSpec) -> dict[str, Any]:
    """What to assemble: room for every mount point, file and directory that is to be made."""
    view = View(spec.rootfs)
    for path in ("/dev", "/proc", *_WRITABLE, spec.working_dir):
        place = view.resolve(path)
        if not os.path.isdir(view.host(place)):
            view.expand(place)
    for mount in spec.mounts:
        view.bind(view.resolve(mount.target), mount.source, os.path.isdir(mount.source))
    for path, _ in spec.files:
        above, name = os.path.split(path)
        view.leave_out(os.path.join(view.resolve(above), name))
    return view.parts()

"""Unprivileged user, mount, pid, ipc, uts and network namespaces, in this interpreter.

The root is an overlay over the stored tree whose writes go to memory; where the kernel has no
overlay for users (before 5.11) it is put together from read-only binds.
"""

from __future__ import annotations

import os

from cwl_userspace.engines import probe
from cwl_userspace.engines.base import EMULATED_ROOT, PRIVATE_PIDS, PROMISES, Launch
from cwl_userspace.engines.view import View
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
    facts = probe.remembered(settings.cache, "userns", place, lambda: probe.namespaces(place))
    return Userns(facts)


class Userns:
    """The engine ``userns``. What its probe found is given to it, so that a launch is pure."""

    name = "userns"

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts

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
        return notes

    def copies(self, spec: ContainerSpec) -> bool:
        """Never: what is written goes to memory."""
        return False

    def launch(self, spec: ContainerSpec, private: str) -> Launch:
        """The operations that make this container; ``private`` only lends a random name."""
        old = f".old-{os.path.basename(private)}"
        stage = os.path.dirname(spec.rootfs)
        identity = spec.identity
        file_word = "bound_file" if spec.own_tree else "private_file"
        flags = _OUTER | (sys_.CLONE_NEWNET if spec.network_off else 0)
        return Launch(
            engine=self.name,
            argv=spec.argv,
            environment=spec.environment,
            working_dir=spec.working_dir,
            namespaces=True,
            before=[["user_namespace", identity.uid, identity.gid, flags]],
            inside=[
                ["mount_namespace", 0],
                self._root(spec, stage),
                ["pivot", old],
                ["devices", old, spec.shm_size, ""],
                *_places(spec, writable=spec.own_tree or self._facts["overlay"]),
                *(["bind", f"/{old}{m.source}", m.target, m.read_only] for m in spec.mounts),
                *([file_word, path, text] for path, text in spec.files),
                ["directory", spec.working_dir, 0o755],
                ["process_files", old, self._facts["fresh_proc"]],
                ["detach", old],
                *([["read_only_root"]] if spec.read_only else []),
                ["hostname", spec.hostname],
                *([["loopback"]] if spec.network_off else []),
                ["drop_capabilities"],
                ["no_new_privileges"],
            ],
            terminal=spec.tty,
            limits=spec.limits.to_json(),
        )

    def _root(self, spec: ContainerSpec, stage: str) -> list[Any]:
        if spec.own_tree:
            return ["own_tree", spec.rootfs, stage]
        if self._facts["overlay"]:
            return ["overlay", spec.rootfs, stage]
        return ["assemble", spec.rootfs, stage, _view(spec)]


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

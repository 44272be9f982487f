"""Unprivileged user, mount, pid, ipc, uts and network namespaces, in this interpreter.

Root is emulated by a seccomp filter, or has real ids of its own where nothing of theirs can be
left behind for somebody who has no right to remove it.
"""

from __future__ import annotations

import os

from cwl_userspace.engines import probe
from cwl_userspace.engines.filters import edition
from cwl_userspace.engines.namespaced import Namespaced, nearest_directory
from cwl_userspace.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.settings import Settings
    from cwl_userspace.spec import ContainerSpec


def engine(settings: Settings, environ: Mapping[str, str]) -> Engine:
    """The engine with what its probe found or remembers."""
    place = nearest_directory(settings.store)
    about = f"{place} {edition()}"
    facts = probe.remembered(settings.cache, "userns", about, lambda: _examine(place))
    return Userns(facts, settings)


def _examine(place: str) -> dict[str, Any]:
    """What the host allows, and the filters."""
    facts = probe.namespaces(place)
    if not facts["reason"]:
        from cwl_userspace.kernel import rootfilter
        from cwl_userspace.kernel.containerfilter import container

        machine = os.uname().machine
        facts["filter"] = container(machine).hex()
        facts["mapped_filter"] = container(machine, rootfilter.no_devices()).hex()
        facts["root_filter"] = container(machine, rootfilter.rules()).hex()
    return facts


class Userns(Namespaced):
    """The engine ``userns``."""

    name = "userns"

    def __init__(self, facts: Mapping[str, Any], settings: Settings) -> None:
        super().__init__(facts, settings)
        self._ids = settings.root_ids

    def notes(self) -> list[str]:
        """What is done in the second best way here."""
        why = self._facts["ids"]["reason"]
        return super().notes() + ([f"root in a container has one id: {why}"] if why else [])

    def _namespaces(self, spec: ContainerSpec, flags: int) -> list[Any]:
        ids = self._mapped_ids(spec)
        if ids is None:
            return ["user_namespace", spec.identity.uid, spec.identity.gid, flags]
        return ["mapped_user_namespace", ids["uids"], ids["gids"], ids["programs"], flags]

    def _last(self, spec: ContainerSpec) -> list[list[Any]]:
        if self._mapped_ids(spec) is not None:
            become = ["identity", spec.identity.uid, spec.identity.gid, None]
            return [become, ["filter", self._facts["mapped_filter"]]]
        return [["filter", self._facts["root_filter" if spec.identity.emulate_root else "filter"]]]

    def _mapped_ids(self, spec: ContainerSpec) -> dict[str, Any] | None:
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
        kept = spec.own_tree or self.copies(spec)
        kept = kept or not all(mount.read_only for mount in spec.mounts)
        return None if self._ids == "auto" and ids["programs"] and kept else ids

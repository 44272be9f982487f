"""The name spaces of ``userns`` without a user name space, for real root where there is none.

The kernel refuses user namespaces to whoever is in a chroot, and max_user_namespaces may be 0.
The program really is the user that it is told to be, and root has what Docker leaves it.
"""

from __future__ import annotations

import os

from cwl_userspace.engines import probe
from cwl_userspace.engines.filters import edition
from cwl_userspace.engines.namespaced import Namespaced, nearest_directory
from cwl_userspace.nsidentity import KEPT_CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.settings import Settings
    from cwl_userspace.spec import ContainerSpec

# chroot(2) twice leads out of a root that is not that of its mount namespace, and a device node
# in a bind would be the host's.
_MORE_DROPPED = ("CAP_SYS_CHROOT", "CAP_MKNOD")


def engine(settings: Settings, environ: Mapping[str, str]) -> Engine:
    """The engine with what its probe found or remembers."""
    place = nearest_directory(settings.store)
    root = os.stat("/")  # another chroot is another place, with the same kernel and user
    about = f"{place} {root.st_dev}:{root.st_ino} {edition()}"
    facts = probe.remembered(settings.cache, "chroot", about, lambda: _examine(place))
    return Chroot(facts, settings)


def _examine(place: str) -> dict[str, Any]:
    """What the host allows, and the filter: of devices it is only said that they were made."""
    facts = probe.root_namespaces(place)
    if not facts["reason"]:
        from cwl_userspace.kernel import rootfilter
        from cwl_userspace.kernel.containerfilter import container

        facts["filter"] = container(os.uname().machine, rootfilter.no_devices()).hex()
    return facts


class Chroot(Namespaced):
    """The engine ``chroot``."""

    name = "chroot"

    def _namespaces(self, spec: ContainerSpec, flags: int) -> list[Any]:
        return ["namespaces", flags]

    def _last(self, spec: ContainerSpec) -> list[list[Any]]:
        identity = spec.identity
        become = ["identity", identity.uid, identity.gid, [identity.gid]]
        return [become, ["filter", self._facts["filter"]]]

    def _dropped(self) -> list[int]:
        return [KEPT_CAPABILITIES[name] for name in _MORE_DROPPED]

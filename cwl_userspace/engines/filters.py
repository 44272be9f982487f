"""The seccomp filters of containers, kept: to assemble one takes longer than to read it."""

from __future__ import annotations

import os

from cwl_userspace.engines import probe
from cwl_userspace.kernel import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SOURCES = ("containerfilter", "rootfilter", "seccomp", "numbers")


def kept(cache: str) -> Mapping[str, str]:
    """``container``, ``root`` and ``no_network`` in hexadecimal, from the cache if they are there.

    They are assembled anew for another edition.
    """
    answer: Mapping[str, str] = probe.remembered(cache, "filters", edition(), _assemble)
    return answer


def edition() -> str:
    """Another one whenever the modules that make the filters are others."""
    above = os.path.dirname(syscalls.__file__)
    found = [os.stat(f"{above}/{name}.py") for name in _SOURCES]
    return " ".join((above, *(f"{one.st_size}.{one.st_mtime_ns}" for one in found)))


def _assemble() -> dict[str, str]:
    from cwl_userspace.kernel import rootfilter
    from cwl_userspace.kernel.containerfilter import container
    from cwl_userspace.kernel.seccomp import no_network

    machine = os.uname().machine
    return {
        "container": container(machine).hex(),
        "root": container(machine, rootfilter.rules()).hex(),
        "no_network": no_network(machine).hex(),
    }

"""Read what this host has of NVIDIA's driver: its GPUs, nodes, libraries and programs."""

from __future__ import annotations

import os

from cwl_userspace.gpus import CONTROL, LIBRARIES, NODES, PROGRAMS, SOCKETS, Driver, Gpu
from cwl_userspace.ldcache import libraries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LISTED = "/proc/driver/nvidia/gpus"
_CAPABILITIES = "/dev/nvidia-caps"
_STEMS = frozenset(stem for stems in LIBRARIES.values() for stem in stems)
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def driver(environ: Mapping[str, str], root: str = "") -> Driver:
    """What the caller can use; a host without a driver gives one without anything.

    ``root`` is the tree that the host's paths are looked up in, empty for the host itself.
    """
    fixed = (CONTROL, *(node for nodes in NODES.values() for node in nodes))
    return Driver(
        gpus=_gpus(root),
        nodes=[node for node in fixed if _usable(root + node)],
        capability_nodes=[
            node
            for name in _entries(root + _CAPABILITIES)
            if _usable(root + (node := f"{_CAPABILITIES}/{name}"))
        ],
        sockets=[s for group in SOCKETS.values() for s in group if os.path.exists(root + s)],
        libraries=libraries(root, os.uname().machine, _is_drivers),
        programs=_programs(environ.get("PATH", ""), root),
        visible=environ.get("CUDA_VISIBLE_DEVICES"),
        root=root,
    )


def _gpus(root: str) -> list[Gpu]:
    """Those whose node can be used, in the order of their places on the bus, as nvidia-smi counts.

    A batch system hides the nodes of the others; what is left is then numbered from 0.
    """
    found = []
    for name in _entries(root + _LISTED):
        about = _information(f"{root}{_LISTED}/{name}/information")
        if about.get("Device Minor", "").isdecimal():
            found.append(Gpu(int(about["Device Minor"]), about.get("GPU UUID", "")))
    if not found:
        names = (name.removeprefix("nvidia") for name in _entries(f"{root}/dev"))
        found = [Gpu(number, "") for number in sorted(int(n) for n in names if n.isdecimal())]
    return [gpu for gpu in found if _usable(f"{root}/dev/nvidia{gpu.minor}")]


def _information(path: str) -> dict[str, str]:
    """``Name: value`` lines."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(1 << 16).splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}


def _usable(node: str) -> bool:
    """True if the caller may use it: the kernel asks a control group of devices here as well."""
    return os.access(node, os.R_OK | os.W_OK)


def _is_drivers(soname: str) -> bool:
    stem, dot, _ = soname.partition(".so.")
    return bool(dot) and stem in _STEMS


def _programs(path: str, root: str) -> dict[str, str]:
    found: dict[str, str] = {}
    wanted = [name for names in PROGRAMS.values() for name in names]
    for directory in filter(os.path.isabs, f"{path}:{_USUAL_PATH}".split(":")):
        for name in wanted:
            place = f"{root}{directory}/{name}"
            if name not in found and os.path.isfile(place) and os.access(place, os.X_OK):
                found[name] = os.path.realpath(place)
    return found


def _entries(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []

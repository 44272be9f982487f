"""Give a container NVIDIA GPUs: which of the host's nodes, libraries and programs it is to see.

The table says what NVIDIA's own container tools show. Only the nodes of the granted GPUs are
shown, and CUDA numbers what it finds from 0, so CUDA_VISIBLE_DEVICES is written anew. The image's
cache of libraries cannot be, so the driver's are put where NVIDIA's images look for them, and
LD_LIBRARY_PATH names that place last, as the cache would come last.
"""

from __future__ import annotations

from cwl_userspace.errors import UsageError
from cwl_userspace.spec import Device, Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cwl_userspace.spec import Gpus, ImageConfig, RunRequest

LIBRARY_PLACE = "/usr/local/nvidia/lib64"
PROGRAM_PLACE = "/usr/bin"
LIBRARIES = {
    "compute": (
        "libcuda",
        "libcudadebugger",
        "libnvidia-allocator",
        "libnvidia-compiler",
        "libnvidia-fatbinaryloader",
        "libnvidia-gpucomp",
        "libnvidia-nvvm",
        "libnvidia-opencl",
        "libnvidia-pkcs11",
        "libnvidia-pkcs11-openssl3",
        "libnvidia-ptxjitcompiler",
        "libnvidia-tileiras",
    ),
    "utility": ("libnvidia-cfg", "libnvidia-ml", "libnvidia-nscq"),
    "video": ("libnvcuvid", "libnvidia-encode", "libnvidia-opticalflow", "libvdpau_nvidia"),
}
# The sockets of the multi-process service are not shown: it needs the host's ipc name space.
PROGRAMS = {
    "compute": ("nvidia-cuda-mps-control", "nvidia-cuda-mps-server"),
    "utility": ("nvidia-smi", "nvidia-debugdump", "nvidia-persistenced", "nv-fabricmanager"),
    "video": (),
}
SOCKETS = {
    "compute": (),
    "utility": (
        "/run/nvidia-persistenced/socket",
        "/run/nvidia-fabricmanager/socket",
    ),
    "video": (),
}
NODES = {
    "compute": ("/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"),
    "utility": (),
    "video": (),
}
CONTROL = "/dev/nvidiactl"
_DEFAULT = ("compute", "utility")
# Some programs load these by a name that is for linking (dlopen(3)).
_UNVERSIONED = ("libcuda.so.1", "libnvidia-opticalflow.so.1")


class Gpu:
    """A GPU of the host: the number of its node and its UUID, empty where it is not known.

    A slice of one (MIG) has a UUID alone, and its number is -1.
    """

    __slots__ = ("minor", "uuid")

    def __init__(self, minor: int, uuid: str) -> None:
        self.minor = minor
        self.uuid = uuid


class Driver:
    """What the host has: ``gpus`` that the caller may use, in the order of their numbers.

    ``nodes``, ``capability_nodes`` and ``sockets`` are paths as the container sees them,
    ``libraries`` sonames and ``programs`` names, each with its place on the host. ``visible`` is
    the caller's CUDA_VISIBLE_DEVICES, None where it is not set.
    """

    __slots__ = (
        "capability_nodes",
        "gpus",
        "libraries",
        "nodes",
        "programs",
        "root",
        "sockets",
        "visible",
    )

    def __init__(
        self,
        gpus: Sequence[Gpu],
        nodes: Sequence[str],
        capability_nodes: Sequence[str],
        sockets: Sequence[str],
        libraries: Mapping[str, str],
        programs: Mapping[str, str],
        visible: str | None,
        root: str = "",
    ) -> None:
        self.gpus = tuple(gpus)
        self.nodes = tuple(nodes)
        self.capability_nodes = tuple(capability_nodes)
        self.sockets = tuple(sockets)
        self.libraries = dict(libraries)
        self.programs = dict(programs)
        self.visible = visible
        self.root = root


def with_gpus(request: RunRequest, config: ImageConfig, driver: Driver) -> RunRequest:
    """The request with the nodes, binds and variables that its GPUs need.

    Raise UsageError where the host has no driver, or not what was asked for.
    """
    image = dict(setting.partition("=")[::2] for setting in config.env)
    said = {**image, **dict(request.environment)}
    capabilities = _capabilities(request.gpus, said)
    _check(driver, capabilities)
    granted = _granted(request.gpus, driver)
    paths = [path for path in said.get("LD_LIBRARY_PATH", "").split(":") if path]
    if LIBRARY_PLACE not in paths:
        paths.append(LIBRARY_PLACE)
    return request.but(
        mounts=[*_mounts(driver, capabilities), *request.mounts],
        devices=[*_devices(driver, capabilities, granted), *request.devices],
        environment=[
            ("NVIDIA_VISIBLE_DEVICES", ",".join(gpu.uuid or str(gpu.minor) for gpu in granted)),
            ("NVIDIA_DRIVER_CAPABILITIES", ",".join(capabilities)),
            ("CUDA_VISIBLE_DEVICES", _numbered(granted)),
            *request.environment,
            ("LD_LIBRARY_PATH", ":".join(paths)),
        ],
    )


def visible(driver: Driver) -> list[Gpu]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves the caller; what follows a wrong entry is hidden.

    Entries are numbers, or UUIDs or the start of one (CUDA C programming guide, "CUDA environment
    variables").
    """
    if driver.visible is None:
        return list(driver.gpus)
    found: list[Gpu] = []
    for entry in driver.visible.split(","):
        gpu = _named(entry.strip(), driver.gpus)
        if gpu is None:
            break
        found.append(gpu)
    return found


def _named(entry: str, gpus: Sequence[Gpu]) -> Gpu | None:
    """A GPU by its number among these or by its UUID; None if there is none."""
    if entry.isdecimal():
        return gpus[int(entry)] if int(entry) < len(gpus) else None
    if entry.startswith("MIG-"):
        return Gpu(-1, entry)
    matching = [gpu for gpu in gpus if entry.startswith("GPU-") and gpu.uuid.startswith(entry)]
    return matching[0] if len(matching) == 1 else None


def _capabilities(gpus: Gpus, said: Mapping[str, str]) -> list[str]:
    """Which parts of the driver: those asked for, else the image's, else NVIDIA's default.

    What an image wants for a display has no meaning here and is left out.
    """
    wanted = gpus.capabilities or said.get("NVIDIA_DRIVER_CAPABILITIES", "").split(",")
    if "all" in wanted:
        return list(LIBRARIES)
    return [name for name in LIBRARIES if name in wanted] or list(_DEFAULT)


def _check(driver: Driver, capabilities: Sequence[str]) -> None:
    if CONTROL not in driver.nodes:
        raise UsageError(
            f"no NVIDIA driver on this host: {CONTROL} is missing",
            "run without --gpus, or where nvidia-smi works",
        )
    if "compute" not in capabilities:
        return
    if "libcuda.so.1" not in driver.libraries:
        raise UsageError(
            "the NVIDIA driver of this host has no libcuda.so.1 for this processor",
            "install its compute libraries, and run ldconfig",
        )
    if "/dev/nvidia-uvm" not in driver.nodes:
        raise UsageError(
            "the NVIDIA driver of this host is not ready: /dev/nvidia-uvm is missing",
            "run nvidia-modprobe -u -c 0, or any CUDA program, on the host first",
        )


def _granted(gpus: Gpus, driver: Driver) -> list[Gpu]:
    left = visible(driver)
    limited = "" if driver.visible is None else f" (CUDA_VISIBLE_DEVICES is {driver.visible!r})"
    if gpus.devices:
        return [_one(name, left, driver, limited) for name in dict.fromkeys(gpus.devices)]
    count = len(left) if gpus.count < 0 else gpus.count
    if count > len(left) or not left:
        asked = "all" if gpus.count < 0 else str(count)
        raise UsageError(
            f"--gpus asks for {asked} and there are {len(left)} to be used here{limited}",
            "ask for fewer, or run where there are more",
        )
    return left[:count]


def _one(name: str, left: Sequence[Gpu], driver: Driver, limited: str) -> Gpu:
    """The GPU that ``device=`` names, by its number on the host; only if the caller may use it."""
    gpu = _named(name, driver.gpus)
    usable = [other for other in left if gpu is not None and _same(gpu, other)]
    if not usable:
        known = ", ".join(other.uuid or str(other.minor) for other in left) or "none"
        raise UsageError(
            f"--gpus asks for {name!r}, which cannot be used here{limited}", f"there are: {known}"
        )
    return usable[0]


def _same(one: Gpu, other: Gpu) -> bool:
    return (one.minor, one.uuid) == (other.minor, other.uuid)


def _numbered(granted: Sequence[Gpu]) -> str:
    """CUDA_VISIBLE_DEVICES inside: a slice keeps its name, for the whole of its GPU is shown."""
    if any(gpu.minor < 0 for gpu in granted):
        return ",".join(gpu.uuid for gpu in granted)
    return ",".join(str(number) for number in range(len(granted)))


def _devices(driver: Driver, capabilities: Sequence[str], granted: Sequence[Gpu]) -> list[Device]:
    """The nodes: those of a slice's GPU cannot be told from the others, so all are shown then."""
    sliced = any(gpu.minor < 0 for gpu in granted)
    wanted = {CONTROL, *(node for name in capabilities for node in NODES[name])}
    shown = [node for node in driver.nodes if node in wanted]
    shown += [f"/dev/nvidia{gpu.minor}" for gpu in (driver.gpus if sliced else granted)]
    shown += driver.capability_nodes if sliced else ()
    return [Device(driver.root + node, node) for node in shown]


def _mounts(driver: Driver, capabilities: Sequence[str]) -> list[Mount]:
    mounts = []
    for name in capabilities:
        for soname, path in driver.libraries.items():
            if soname.partition(".so.")[0] in LIBRARIES[name]:
                mounts.append(Mount(path, f"{LIBRARY_PLACE}/{soname}", read_only=True))
                if soname in _UNVERSIONED:
                    plain = soname.partition(".so.")[0] + ".so"
                    mounts.append(Mount(path, f"{LIBRARY_PLACE}/{plain}", read_only=True))
        for program in PROGRAMS[name]:
            if program in driver.programs:
                target = f"{PROGRAM_PLACE}/{program}"
                mounts.append(Mount(driver.programs[program], target, read_only=True))
        for socket in SOCKETS[name]:
            if socket in driver.sockets:
                mounts.append(Mount(driver.root + socket, socket, read_only=True))
    return mounts

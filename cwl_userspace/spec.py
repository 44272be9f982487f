"""The values that a run is made of: what was asked, what the image says, what an engine gets.

Slotted classes, written out: dataclasses and typing would cost each run more than the container.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


class Mount:
    """A bind mount: a real host path, its place in the container, and whether it can be written."""

    __slots__ = ("read_only", "source", "target")

    def __init__(self, source: str, target: str, read_only: bool = False) -> None:
        self.source = source
        self.target = target
        self.read_only = read_only

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mount) and repr(self) == repr(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Mount({self.source!r}, {self.target!r}, read_only={self.read_only})"


class ImageConfig:
    """What an image says of how it is to be run (OCI image specification, config.md)."""

    __slots__ = ("cmd", "entrypoint", "env", "user", "working_dir")

    def __init__(
        self,
        env: Sequence[str] = (),
        entrypoint: Sequence[str] = (),
        cmd: Sequence[str] = (),
        working_dir: str = "",
        user: str = "",
    ) -> None:
        self.env = tuple(env)
        self.entrypoint = tuple(entrypoint)
        self.cmd = tuple(cmd)
        self.working_dir = working_dir
        self.user = user

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> ImageConfig:
        """Read the ``config`` object of an image configuration; odd values count as absent."""
        return cls(
            env=_strings(config.get("Env")),
            entrypoint=_strings(config.get("Entrypoint")),
            cmd=_strings(config.get("Cmd")),
            working_dir=str(config.get("WorkingDir") or ""),
            user=str(config.get("User") or ""),
        )


def _strings(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


class Device:
    """A device node of the host, and its place in the container."""

    __slots__ = ("source", "target")

    def __init__(self, source: str, target: str) -> None:
        self.source = source
        self.target = target

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and repr(self) == repr(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Device({self.source!r}, {self.target!r})"


class Limits:
    """What a container may use: 0 and () mean as much as there is.

    ``memory`` in bytes of all its processes together; ``cpus`` a number of processors' time;
    ``cpuset`` the processors by number; ``seconds`` of wall time.
    """

    __slots__ = ("cpus", "cpuset", "memory", "seconds")

    def __init__(
        self,
        memory: int = 0,
        cpus: float = 0.0,
        cpuset: Sequence[int] = (),
        seconds: float = 0.0,
    ) -> None:
        self.memory = memory
        self.cpus = cpus
        self.cpuset = tuple(cpuset)
        self.seconds = seconds

    def to_json(self) -> dict[str, Any]:
        """The limits as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def any(self) -> bool:
        """True if anything is limited."""
        return bool(self.memory or self.cpus or self.cpuset or self.seconds)


class Gpus:
    """GPUs that are asked for: ``count`` of them (-1 for all), or those that ``devices`` names.

    ``devices`` are numbers or UUIDs. ``capabilities`` are the parts of the driver that are
    wanted; () leaves them to the image (NVIDIA_DRIVER_CAPABILITIES).
    """

    __slots__ = ("capabilities", "count", "devices")

    def __init__(
        self, count: int = 0, devices: Sequence[str] = (), capabilities: Sequence[str] = ()
    ) -> None:
        self.count = count
        self.devices = tuple(devices)
        self.capabilities = tuple(capabilities)

    def __repr__(self) -> str:
        return f"Gpus({self.count}, {self.devices!r}, {self.capabilities!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Gpus) and repr(self) == repr(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def any(self) -> bool:
        """True if one is asked for."""
        return bool(self.count or self.devices)


class RunRequest:
    """What the words of ``run`` ask for, not yet joined with what the image says.

    ``entrypoint`` is None if not given and () if emptied; ``user`` is text as given to ``-u``;
    ``environment`` holds pairs in order; ``shm_size`` and ``root_size`` are in bytes.
    """

    __slots__ = (
        "add_hosts",
        "argv",
        "devices",
        "entrypoint",
        "environment",
        "gpus",
        "hostname",
        "limits",
        "mounts",
        "network_off",
        "read_only",
        "root_size",
        "shm_size",
        "tty",
        "user",
        "working_dir",
    )

    def __init__(
        self,
        argv: Sequence[str] = (),
        mounts: Sequence[Mount] = (),
        environment: Sequence[tuple[str, str]] = (),
        working_dir: str = "",
        user: str = "",
        entrypoint: Sequence[str] | None = None,
        network_off: bool = False,
        read_only: bool = False,
        add_hosts: Sequence[tuple[str, str]] = (),
        hostname: str = "",
        shm_size: int = 64 << 20,
        limits: Limits | None = None,
        devices: Sequence[Device] = (),
        gpus: Gpus | None = None,
        tty: bool = False,
        root_size: int = 0,
    ) -> None:
        self.argv = tuple(argv)
        self.mounts = tuple(mounts)
        self.environment = tuple(environment)
        self.working_dir = working_dir
        self.user = user
        self.entrypoint = None if entrypoint is None else tuple(entrypoint)
        self.network_off = network_off
        self.read_only = read_only
        self.add_hosts = tuple(add_hosts)
        self.hostname = hostname
        self.shm_size = shm_size
        self.limits = limits or Limits()
        self.devices = tuple(devices)
        self.gpus = gpus or Gpus()
        self.tty = tty
        self.root_size = root_size

    def but(self, **changes: Any) -> RunRequest:
        """The same request with other values for some of its parts."""
        return RunRequest(**{name: getattr(self, name) for name in self.__slots__} | changes)


class Identity:
    """Who the program is inside: numbers, and the name and home that go with them.

    ``emulate_root`` is true where root was asked for by name or number.
    """

    __slots__ = ("emulate_root", "gid", "home", "name", "uid")

    def __init__(self, uid: int, gid: int, name: str, home: str, emulate_root: bool) -> None:
        self.uid = uid
        self.gid = gid
        self.name = name
        self.home = home
        self.emulate_root = emulate_root


class ContainerSpec:
    """All that an engine needs to know: no default is left to it, and nothing is text to parse.

    ``files`` are private copies to be seen at a place in the container: pairs of an absolute
    path and its content. With ``own_tree`` the tree at ``rootfs`` is this container's alone:
    what it writes goes there and stays; otherwise the tree is the store's and never changes, and
    ``root_size`` is how many bytes may be written to the root (0: what the settings say).
    """

    __slots__ = (
        "argv",
        "devices",
        "environment",
        "files",
        "hostname",
        "identity",
        "limits",
        "mounts",
        "network_off",
        "own_tree",
        "read_only",
        "root_size",
        "rootfs",
        "shm_size",
        "tty",
        "working_dir",
    )

    def __init__(
        self,
        rootfs: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        mounts: Sequence[Mount],
        working_dir: str,
        identity: Identity,
        network_off: bool,
        read_only: bool,
        hostname: str,
        files: Sequence[tuple[str, str]],
        shm_size: int,
        tty: bool,
        limits: Limits | None = None,
        devices: Sequence[Device] = (),
        own_tree: bool = False,
        root_size: int = 0,
    ) -> None:
        self.rootfs = rootfs
        self.argv = tuple(argv)
        self.environment = dict(environment)
        self.mounts = tuple(mounts)
        self.working_dir = working_dir
        self.identity = identity
        self.network_off = network_off
        self.read_only = read_only
        self.hostname = hostname
        self.files = tuple(files)
        self.shm_size = shm_size
        self.tty = tty
        self.limits = limits or Limits()
        self.devices = tuple(devices)
        self.own_tree = own_tree
        self.root_size = root_size

"""Limits by cgroup v2, where a part of its tree is ours to change.

Every file and rule is of the kernel's Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_PREFIX = "cwl-userspace-"
_PERIOD = 100_000  # microseconds, the kernel's own default for cpu.max
_LEAST_QUOTA = 1_000
# A cgroup can be removed once the kernel has taken its last process apart, which takes a moment.
_ATTEMPTS = 100
_PAUSE = 0.005


class NotDelegated(Exception):
    """Why no cgroup can be made here, as the rest of a sentence."""


class NotOurs(NotDelegated):
    """The kernel has what is wanted, but no cgroup from here up is ours to change."""


class Cgroup:
    """One container's own cgroup."""

    __slots__ = ("controllers", "path")

    def __init__(self, parent: str, controllers: Collection[str]) -> None:
        """Make it below ``parent``, which enables ``controllers`` for it; raise OSError."""
        _sweep(parent)
        name = f"{_PREFIX}{os.getpid()}-{os.urandom(6).hex()}"
        self.path = os.path.join(parent, name)
        self.controllers = frozenset(controllers)
        os.mkdir(self.path, 0o755)

    def limit_memory(self, size: int) -> None:
        """At most ``size`` bytes, no swap beyond; whoever asks for more ends the whole group."""
        self._write("memory.max", str(size))
        for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
            try:
                self._write(name, value)
            except FileNotFoundError:
                # No swap on this host, or a kernel before 4.19: then the supervisor kills.
                continue

    def limit_cpus(self, cpus: float) -> None:
        """At most so many processors' time."""
        self._write("cpu.max", f"{max(_LEAST_QUOTA, round(cpus * _PERIOD))} {_PERIOD}")

    def entrance(self) -> int:
        """A descriptor: a process that writes 0 to it is in, with all that it will start."""
        fd = os.open(f"{self.path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        # Low numbers are for what a program inherits.
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
        os.close(fd)
        return high

    @property
    def kills_whole_group(self) -> bool:
        """True if the kernel kills all of the group where it kills one (Linux 4.19)."""
        return os.path.exists(f"{self.path}/memory.oom.group")

    def oom_kills(self) -> int:
        """How many processes the kernel has killed for the memory that they took together."""
        words = _read(f"{self.path}/memory.events").split()
        return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0

    def peak(self) -> int:
        """The most memory in bytes that it ever had; 0 where that is not kept (before 5.19)."""
        return int(_read(f"{self.path}/memory.peak") or 0)

    def kill(self) -> None:
        """SIGKILL to all of it, at once (Linux 5.14)."""
        try:
            self._write("cgroup.kill", "1")
        except OSError:
            for pid in _read(f"{self.path}/cgroup.procs").split():
                try:
                    os.kill(int(pid), 9)
                except ProcessLookupError:
                    continue

    def remove(self) -> None:
        """Remove it, with what is still in it."""
        for _ in range(_ATTEMPTS):
            try:
                os.rmdir(self.path)
                return
            except OSError as error:
                if error.errno != errno.EBUSY:
                    return
                self.kill()
                time.sleep(_PAUSE)

    def _write(self, name: str, value: str) -> None:
        _write(f"{self.path}/{name}", value)


def mount_point() -> str:
    """Where cgroup v2 is mounted, if it is: at its usual place or beside v1."""
    for path in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        if os.path.exists(f"{path}/cgroup.controllers"):
            return path
    return ""


def own_place(mount: str) -> str:
    """The directory of the cgroup that this process is in; raise NotDelegated if there is none."""
    if not mount:
        raise NotDelegated("no cgroup v2 is mounted here")
    for line in _read("/proc/self/cgroup").splitlines():
        if line.startswith("0::"):
            path = mount + line[3:].rstrip("/")
            if os.path.exists(f"{path}/cgroup.procs"):
                return path
    raise NotDelegated("the cgroup of this process is not to be seen")


def find_parent(mount: str, place: str, wanted: Collection[str]) -> tuple[str, set[str]]:
    """The nearest cgroup, from ``place`` up, below which we may limit, and which controllers.

    ``place`` is the cgroup of this process. The kernel gives controllers only to the children
    of a cgroup that has no process itself, unless it is the root; so it is often not the nearest
    of all. Raise NotDelegated where none of ``wanted`` can be had.
    """
    if not {*wanted} & _controllers(f"{mount}/cgroup.controllers"):
        names = " and ".join(sorted(wanted))
        raise NotDelegated(f"the kernel has given {names} to cgroup v1, or to nobody")
    best: tuple[str, set[str]] = "", set()
    here = place
    while here.startswith(mount) and len(best[1]) < len(wanted):
        usable = _usable(here, wanted) if _is_ours(here) else set()
        if len(usable) > len(best[1]):
            best = here, usable
        here = os.path.dirname(here)
    if not best[0] and _is_ours(place) and _make_room(place):
        best = place, _usable(place, wanted)
    if not best[1]:
        shown = place.removeprefix(mount) or "/"
        raise NotOurs(f"the cgroup {shown} and those above it are not ours to change")
    return best


def is_alone(place: str) -> bool:
    """True if this process is the only one in the cgroup."""
    return _read(f"{place}/cgroup.procs").split() == [str(os.getpid())]


def _make_room(place: str) -> bool:
    """Go one level down, so that ``place`` may give controllers; not where others are in it."""
    if not is_alone(place):
        return False
    try:
        own = f"{place}/supervisor"
        if not os.path.isdir(own):
            os.mkdir(own, 0o755)
        _write(f"{own}/cgroup.procs", "0")
    except OSError:
        return False
    return True


def _usable(parent: str, wanted: Collection[str]) -> set[str]:
    """The wanted controllers that ``parent`` gives to its children, now that it was asked to.

    It is not asked where it has processes and is not the root: it would refuse, or, for cpu, have
    only threads in its children.
    """
    file = f"{parent}/cgroup.subtree_control"
    kind = _read(f"{parent}/cgroup.type").strip()  # the root has none
    if kind and (kind != "domain" or _read(f"{parent}/cgroup.procs").strip()):
        return {*wanted} & _controllers(file) if kind == "domain" else set()
    for name in {*wanted} & _controllers(f"{parent}/cgroup.controllers") - _controllers(file):
        try:
            _write(file, f"+{name}")
        except OSError:
            continue
    return {*wanted} & _controllers(file)


def _is_ours(place: str) -> bool:
    """True if cgroups can be made there and processes moved there."""
    return all(os.access(p, os.W_OK) for p in (place, f"{place}/cgroup.procs"))


def _sweep(parent: str) -> None:
    """Remove what runs left whose supervisor was killed; the kernel keeps any that is in use."""
    for name in os.listdir(parent):
        pid, dash, _ = name.removeprefix(_PREFIX).partition("-")
        # Other engines name theirs by the run.
        ours = name.startswith(_PREFIX) and dash and pid.isdigit()
        if ours and not os.path.exists(f"/proc/{pid}"):
            try:
                os.rmdir(os.path.join(parent, name))
            except OSError:
                continue


def _controllers(path: str) -> set[str]:
    return set(_read(path).split())


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)

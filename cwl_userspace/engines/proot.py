"""proot: the engine that works everywhere, since it needs nothing but ptrace.

What Debian's 5.1.0 gets wrong is cured from outside: a seccomp filter for the paths that it does
not translate, a status shim for exit codes, a keeper that ends what it would leave running, and
Landlock for the stored tree and read-only binds. Where the kernel has no Landlock the container
gets a private copy of the tree, because modes protect nothing from the files' owner.
"""

from __future__ import annotations

import os
import posixpath

from cwl_userspace.engines import probe
from cwl_userspace.engines.base import (
    NETWORK_OFF,
    PRIVATE_PIDS,
    PROMISES,
    READ_ONLY_BINDS,
    READ_ONLY_ROOT,
    Launch,
)
from cwl_userspace.engines.lookup import find_program
from cwl_userspace.engines.view import View
from cwl_userspace.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.settings import Settings
    from cwl_userspace.spec import ContainerSpec

HINT = (
    "install the package proot, or put a static proot on PATH or into the setting proot"
    " (https://proot-me.github.io has them): it needs no rights"
)
# Below this version truncate(2) goes past Landlock.
_LANDLOCK_NEEDED = 3
_STATUS_FD = 3
_LOADER = "proot/loader"
_SHIM = "/dev/.cwl-userspace-status"
_LOCATOR_FD = 4
_LOCATOR = "/dev/.cwl-userspace-locator"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
_DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)


def find(setting: str, path: str) -> str:
    """The proot to use: the one that is set, else the first on PATH; empty if there is none."""
    if setting:
        return setting
    for directory in path.split(":"):
        candidate = os.path.join(directory, "proot")
        if directory and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return os.path.abspath(candidate)
    return ""


def engine(settings: Settings, environ: Mapping[str, str]) -> Engine:
    """The engine with what its probe found or remembers."""
    path = find(settings.proot, environ.get("PATH", ""))
    about = path or "none"
    facts = probe.remembered(settings.cache, "proot", about, lambda: Proot.examine(path))
    return Proot(path, facts)


class Proot:
    """The engine ``proot``. What its probe found is given to it, so that a launch is pure."""

    name = "proot"

    def __init__(self, path: str, facts: Mapping[str, Any]) -> None:
        self._path = path
        self._facts = facts

    def unavailable(self) -> str | None:
        """Why proot cannot be used here; None if it can."""
        return self._facts["reason"] or None

    def promises(self) -> Mapping[str, str]:
        """What seccomp and Landlock make possible; processes of the host are always to be seen."""
        landlock = self._facts["landlock"] >= _LANDLOCK_NEEDED
        no_landlock = f"the kernel's Landlock is {self._facts['landlock']}, not 3 or newer"
        return {
            **dict.fromkeys(PROMISES, ""),
            NETWORK_OFF: "" if self._facts["seccomp"] else "the kernel has no seccomp filters",
            READ_ONLY_BINDS: "" if landlock else no_landlock,
            READ_ONLY_ROOT: "" if landlock else no_landlock,
            PRIVATE_PIDS: "proot has no process name space",
        }

    @staticmethod
    def examine(path: str) -> dict[str, Any]:
        """What this proot can do here, by running it."""
        from cwl_userspace.engines.proot_probe import examine

        return examine(path, HINT)

    def notes(self) -> list[str]:
        """What a user should know of a promise that is kept in another way than elsewhere."""
        notes = ["proot turns the network off with all of it, loopback included"]
        if not self._facts["mode_guard"]:
            notes.append("modes and times of the stored tree are not kept from their owner")
        return notes

    def launch(self, spec: ContainerSpec, private: str) -> Launch:
        """The command line of proot, and what is to be made in ``private`` before."""
        plan = _Plan(spec, private, copy=self.copies(spec))
        plan.devices([self._facts["machine"], _STATUS_FD])
        plan.loader(self._path)
        plan.temporary_places()
        plan.binds()
        plan.files()
        plan.working_dir()
        program = find_program(
            plan.view, spec.argv, spec.environment.get("PATH", ""), spec.working_dir
        )
        guarded = plan.guarded() if self._facts["mode_guard"] else []
        located = bool(guarded) and self._facts["accelerated"]
        if located:
            plan.locator([self._facts["machine"], _LOCATOR_FD])
        binds, prepare = plan.finish()
        return Launch(
            engine=self.name,
            argv=[
                *(self._path, "-v", "-1"),
                *self._identity(spec),
                *(["--kill-on-exit"] if self._facts["kill_on_exit"] else []),
                *("-r", plan.root),
                *binds,
                *("-w", spec.working_dir),
                *([_LOCATOR] if located else []),
                *(_SHIM, "", *(f"{name}={value}" for name, value in spec.environment.items()), ""),
                program,
                *spec.argv,
            ],
            environment=self._own_environment(private),
            working_dir=private,
            namespaces=False,
            last=[
                ["no_new_privileges"],
                *self._protection(spec, plan),
                *([["untranslated_paths"]] if self._facts["seccomp"] else []),
                *([["no_network"]] if spec.network_off and self._facts["seccomp"] else []),
            ],
            prepare=prepare,
            private=private,
            status_fd=_STATUS_FD,
            skip=1,
            guarded=guarded,
            locator={"fd": _LOCATOR_FD, "forgive": self._becomes_root(spec)} if located else {},
            terminal=spec.tty,
            limits=spec.limits.to_json(),
        )

    def copies(self, spec: ContainerSpec) -> bool:
        """Emulated root means to write to the root; and without Landlock nothing protects it."""
        if spec.own_tree:
            return False
        wants_to_write = spec.identity.emulate_root and not spec.read_only
        return wants_to_write or self._facts["landlock"] < _LANDLOCK_NEEDED

    def _protection(self, spec: ContainerSpec, plan: _Plan) -> list[list[Any]]:
        if self._facts["landlock"] < _LANDLOCK_NEEDED:
            return []
        return [["restrict_writes", plan.writable()]]

    def _identity(self, spec: ContainerSpec) -> list[str]:
        identity = spec.identity
        if self._becomes_root(spec):
            return ["-0"]
        if (identity.uid, identity.gid) != (os.geteuid(), os.getegid()):
            return ["-i", f"{identity.uid}:{identity.gid}"]
        return []

    def _becomes_root(self, spec: ContainerSpec) -> bool:
        return spec.identity.uid == 0 and os.geteuid() != 0

    def _own_environment(self, private: str) -> dict[str, str]:
        """proot's own variables; the program gets its own from the status shim.

        With a loader of ours proot writes nothing; 5.1 would write to /tmp, and only there.
        """
        own = {"PROOT_TMP_DIR": f"{private}/proot", "PROOT_LOADER": f"{private}/{_LOADER}"}
        if not self._facts["accelerated"]:
            own["PROOT_NO_SECCOMP"] = "1"
        return own


class _Plan:
    """The private directory of one run, and what is bound where."""

    def __init__(self, spec: ContainerSpec, private: str, copy: bool) -> None:
        self._spec = spec
        self._private = private
        self._copy = copy
        self._whole = copy or spec.own_tree
        self.root = spec.rootfs if spec.own_tree else f"{private}/root"
        self.view = View(spec.rootfs)
        self._operations: list[list[Any]] = []
        self._binds: list[tuple[str, str, bool]] = []
        self._writable = [f"{private}/proot"] if spec.read_only else [private]
        if spec.own_tree and not spec.read_only:
            self._writable.append(spec.rootfs)
        if os.geteuid() != 0:
            # Of root's own programs even sysrq-trigger would be within reach there.
            self._writable.append("/proc")

    def devices(self, shim: list[Any]) -> None:
        """/proc is the host's; /dev is a private directory with the usual devices in it."""
        self._bind("/proc", "/proc", directory=True)
        self._private_directory("/dev", 0o755)
        for name in _DEVICES:
            if os.path.exists(f"/dev/{name}"):
                self._bind(f"/dev/{name}", f"/dev/{name}", directory=name == "pts")
                self._writable.append(f"/dev/{name}")
        for name, target in _DEVICE_LINKS:
            self._operations.append(["make_link", f"{self._private}/dev/{name}", target])
        self._private_directory("/dev/shm", 0o1777)
        self._operations.append(["make_status_shim", f"{self._private}{_SHIM}", *shim])

    def locator(self, words: list[Any]) -> None:
        """The program by which the keeper learns what paths mean in the container."""
        self._operations.append(["make_locator", f"{self._private}{_LOCATOR}", *words])

    def loader(self, proot: str) -> None:
        """The loader that proot carries inside, where it can be executed."""
        self._operations.append(["make_loader", f"{self._private}/{_LOADER}", proot])

    def temporary_places(self) -> None:
        """/tmp and /var/tmp can be written by everybody, whatever the image has there."""
        mounted = {mount.target for mount in self._spec.mounts}
        for path in ("/tmp", "/var/tmp"):
            if path not in mounted:
                self._private_directory(self.view.resolve(path), 0o1777)

    def binds(self) -> None:
        """What was asked for."""
        for mount in self._spec.mounts:
            place = self.view.resolve(mount.target)
            self._check_room(mount.target, place)
            self._bind(mount.source, place, os.path.isdir(mount.source))
            if not mount.read_only:
                self._writable.append(mount.source)

    def files(self) -> None:
        """Private copies of a few files."""
        for number, (path, text) in enumerate(self._spec.files):
            copy = f"{self._private}/files/{number}-{posixpath.basename(path)}"
            self._operations.append(["make_file", copy, text])
            self._bind(copy, self.view.resolve(path), directory=False)

    def working_dir(self) -> None:
        """The directory to start in exists."""
        place = self.view.resolve(self._spec.working_dir)
        if not os.path.isdir(self.view.host(place)):
            if not self.view.covered(place):
                self.view.expand(place)
            self._operations.append(["make_directory", self._place_on_host(place), 0o755])

    def finish(self) -> tuple[list[str], list[list[Any]]]:
        """proot's ``-b`` arguments, and all that is to be made beforehand."""
        parts = self.view.parts()
        tree = [] if self._whole else parts["binds"]
        operations: list[list[Any]] = [["make_directory", f"{self._private}/proot", 0o700]]
        if self._copy:
            operations.append(["copy_tree", self._spec.rootfs, self.root])
        elif not self._whole:
            operations += [["make_directory", self.root + p, 0o755] for p in parts["directories"]]
            operations += [["make_link", self.root + p, t] for p, t in parts["links"]]
        arguments = []
        for place in tree:
            source = self._spec.rootfs + place
            operations.append(_room(self.root + place, os.path.isdir(source)))
            arguments += ["-b", f"{self._without_colon(source)}:{place}!"]
        for source, place, _ in self._binds:
            arguments += ["-b", f"{self._without_colon(source)}:{place}!"]
        operations += self._operations
        operations += [_room(self._place_on_host(p), kind) for _, p, kind in self._binds]
        return arguments, operations

    def writable(self) -> list[str]:
        """Places of the host that the container may write to."""
        return self._writable

    def guarded(self) -> list[str]:
        """Places of the host whose modes, owners and times must stay as they are."""
        read_only = [mount.source for mount in self._spec.mounts if mount.read_only]
        return read_only if self._whole else [self._spec.rootfs, *read_only]

    def _check_room(self, target: str, place: str) -> None:
        """A mount point that is missing must not be made in a source that is read-only."""
        above = [m for m in self._spec.mounts if place.startswith(m.target.rstrip("/") + "/")]
        if above and above[-1].read_only and not os.path.lexists(self._place_on_host(place)):
            raise UsageError(
                f"cannot mount at {target!r}: {above[-1].target!r} is read-only and lacks it",
                "mount it elsewhere, or make the place in the source first",
            )

    def _place_on_host(self, place: str) -> str:
        """Where a mount point is: in the private root, or below another bind, as in Docker."""
        if not self.view.covered(place):
            return self.root + place
        parent, name = posixpath.split(place)
        return f"{self.view.host(parent)}/{name}"

    def _private_directory(self, place: str, mode: int) -> None:
        source = f"{self._private}{place}"
        self._operations.append(["make_directory", source, mode])
        self._writable.append(source)
        self._bind(source, place, directory=True)

    def _bind(self, source: str, place: str, directory: bool) -> None:
        self.view.bind(place, source, directory)
        self._binds.append((source, place, directory))

    def _without_colon(self, source: str) -> str:
        """proot cuts at the first colon, so a source with one is reached through a link."""
        if ":" not in source:
            return source
        link = f"{self._private}/links/{len(self._operations)}"
        self._operations.append(["make_link", link, source])
        return link


def _room(place: str, directory: bool) -> list[Any]:
    return ["make_directory", place, 0o755] if directory else ["make_room", place]

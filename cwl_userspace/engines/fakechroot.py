"""fakechroot: a library between the program and its C library that puts a root before each path.

The last resort, where neither namespaces nor ptrace are allowed. It works for dynamic programs
of glibc alone and others are refused; what goes past the C library sees the host. There are no
mounts, so each container gets a private copy of the tree, in which links lead to what was asked
for. Landlock and seccomp add what they add to proot.
"""

from __future__ import annotations

import os
import posixpath

from cwl_userspace.engines import probe
from cwl_userspace.engines.base import (
    CLEAN_ENVIRONMENT,
    EMULATED_ROOT,
    NETWORK_OFF,
    PRIVATE_PIDS,
    PRIVATE_ROOT,
    PROMISES,
    READ_ONLY_BINDS,
    READ_ONLY_ROOT,
    Launch,
)
from cwl_userspace.engines.fakechroot_image import library_path, program_in
from cwl_userspace.engines.view import View
from cwl_userspace.errors import EngineError, UsageError
from cwl_userspace.script import script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.settings import Settings
    from cwl_userspace.spec import ContainerSpec, Mount

HINT = "install the package fakechroot"
_LIBRARY = "fakechroot/libfakechroot.so"
_LANDLOCK_NEEDED = 3
# Without these, which the program finds among its own, there is no fakechroot.
OWN_VARIABLES = (
    *("FAKECHROOT", "FAKECHROOT_BASE", "FAKECHROOT_EXCLUDE_PATH", "FAKECHROOT_VERSION", "PWD"),
    *("FAKECHROOT_ELFLOADER", "FAKECHROOT_ELFLOADER_OPT_ARGV0", "LD_LIBRARY_PATH", "LD_PRELOAD"),
)
# libfakechroot takes no more (EXCLUDE_LIST_SIZE).
_EXCLUDED = 100
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
_DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)


def engine(settings: Settings, environ: Mapping[str, str]) -> Engine:
    """The engine with what its probe found or remembers."""
    library = find(environ.get("PATH", ""))
    facts = probe.remembered(
        settings.cache, "fakechroot", library or "none", lambda: Fakechroot.examine(library)
    )
    return Fakechroot(library, facts)


def find(path: str) -> str:
    """This host's libfakechroot.so: beside a fakechroot on PATH, or where distributions put it."""
    machine = os.uname().machine
    tops = [os.path.dirname(directory.rstrip("/")) for directory in path.split(":") if directory]
    for top in (*tops, "/usr", "/usr/local"):
        for below in (f"lib/{machine}-linux-gnu", "lib64", "lib"):
            place = os.path.join(top, below, _LIBRARY)
            if os.path.isabs(place) and os.path.isfile(place):
                return place
    return ""


class Fakechroot:
    """The engine ``fakechroot``. What its probe found is given to it, so that a launch is pure."""

    name = "fakechroot"
    own_variables = OWN_VARIABLES

    def __init__(self, library: str, facts: Mapping[str, Any]) -> None:
        self._library = library
        self._facts = facts

    def unavailable(self) -> str | None:
        """Why fakechroot cannot be used here; None if it can."""
        return self._facts["reason"] or None

    def promises(self) -> Mapping[str, str]:
        """What a library can keep, and what seccomp and Landlock add."""
        landlock = self._facts["landlock"] >= _LANDLOCK_NEEDED
        no_seccomp = "" if self._facts["seccomp"] else "the kernel has no seccomp filters"
        no_landlock = f"the kernel's Landlock is {self._facts['landlock']}, not 3 or newer"
        return {
            **dict.fromkeys(PROMISES, ""),
            # Landlock keeps what is bound from looking into other processes (Linux 5.13).
            CLEAN_ENVIRONMENT: "" if landlock else f"/proc tells the host's, and {no_landlock}",
            PRIVATE_ROOT: "what goes past the C library sees the host's files",
            NETWORK_OFF: no_seccomp,
            READ_ONLY_BINDS: "" if landlock else no_landlock,
            READ_ONLY_ROOT: "" if landlock else no_landlock,
            PRIVATE_PIDS: "fakechroot has no process name space",
            EMULATED_ROOT: no_seccomp,
        }

    @staticmethod
    def examine(library: str) -> dict[str, Any]:
        """What the library can do here, by running a program with it."""
        from cwl_userspace.engines.fakechroot_probe import examine

        return examine(library, HINT)

    def notes(self) -> list[str]:
        """What a user should know of a promise that is kept in another way than elsewhere."""
        return [
            "fakechroot runs dynamic programs of glibc alone; a static one that such a program"
            " starts sees the host's files",
            "programs find LD_PRELOAD, LD_LIBRARY_PATH and FAKECHROOT_* in their environment",
            "mounts are symbolic links; each container copies its whole image",
            "no user is emulated but root, and files are shown with their real owner",
            "fakechroot turns the network off with all of it, loopback included",
        ]

    def copies(self, spec: ContainerSpec) -> bool:
        """Always: links are made in the tree, and some are rewritten."""
        return True

    def launch(self, spec: ContainerSpec, private: str) -> Launch:
        """How to fill the private tree and start the program with the library."""
        _check(spec, private)
        plan = _Plan(spec, private)
        program, argv, loader = program_in(plan.view, spec, self._facts["needs"])
        plan.temporary_places()
        plan.devices()
        plan.files()
        plan.mounts()
        working_dir = plan.working_dir()
        shim = f"{private}/shim"
        environment = {**spec.environment, **self._own_environment(spec, plan)}
        command = [plan.on_host(program), *argv]
        if loader:
            # The host's ld.so cannot load a C library that is not its own.
            environment["FAKECHROOT_ELFLOADER"] = plan.on_host(loader)
            environment["FAKECHROOT_ELFLOADER_OPT_ARGV0"] = "--argv0"
            command = [plan.on_host(loader), loader, "--argv0", argv[0], command[0], *argv[1:]]
        return Launch(
            engine=self.name,
            argv=[shim],
            environment={},
            working_dir=working_dir,
            namespaces=False,
            last=[
                # Of real root's powers some reach past Landlock to processes of the host.
                *([["drop_capabilities"]] if os.geteuid() == 0 else []),
                ["no_new_privileges"],
                *self._protection(plan),
                ["keep_within", spec.network_off],
                *([["no_network"]] if spec.network_off and self._facts["seccomp"] else []),
            ],
            prepare=[
                ["make_directory", private, 0o700],
                ["copy_tree", spec.rootfs, plan.root],
                ["anchor_links", plan.root],
                *plan.operations,
                ["make_status_shim", shim, self._facts["machine"]],
            ],
            private=private,
            guarded=plan.guarded() if self._facts["mode_guard"] else [],
            terminal=spec.tty,
            limits=spec.limits.to_json(),
            script=script(
                command[0],
                command[1:],
                environment,
                terminal=spec.tty,
                bound=True,
                filters=_filters(spec),
            ),
        )

    def _protection(self, plan: _Plan) -> list[list[Any]]:
        if self._facts["landlock"] < _LANDLOCK_NEEDED:
            return []
        return [["restrict_writes", plan.writable]]

    def _own_environment(self, spec: ContainerSpec, plan: _Plan) -> dict[str, str]:
        """The library's variables, and the image's own for ld.so as places of this host.

        ld.so(8) reads its two before the library is there to change a path.
        """
        preload = spec.environment.get("LD_PRELOAD", "").replace(" ", ":").split(":")
        libraries = dict.fromkeys(plan.on_host(p) for p in library_path(plan.view, spec))
        return {
            # A shell says where it is by this name as long as it is true.
            "PWD": spec.environment.get("PWD", spec.working_dir),
            "LD_PRELOAD": ":".join(
                (self._library, *(plan.on_host(p) if "/" in p else p for p in preload if p))
            ),
            "LD_LIBRARY_PATH": ":".join(libraries),
            "FAKECHROOT": "true",
            "FAKECHROOT_BASE": plan.root,
            "FAKECHROOT_EXCLUDE_PATH": ":".join(plan.excluded()),
        }


def _filters(spec: ContainerSpec) -> list[str]:
    """Who is to be root is told that it is, and that it has changed what it has not."""
    if not spec.identity.emulate_root:
        return []
    from cwl_userspace.kernel.rootfilter import answered_root

    return [answered_root(os.uname().machine).hex()]


def _check(spec: ContainerSpec, private: str) -> None:
    if spec.own_tree:
        raise UsageError(
            "the engine fakechroot runs no container with a tree of its own",
            "choose another with --engine",
        )
    if any(c in private for c in ":; "):
        raise EngineError(
            f"the engine fakechroot cannot work in {private!r}: ld.so would cut that path",
            "set TMPDIR to a path without colons, semicolons and spaces",
        )


class _Plan:
    """The private tree of one run, and where in it links lead to what was asked for."""

    def __init__(self, spec: ContainerSpec, private: str) -> None:
        self._spec = spec
        self._private = private
        self.root = f"{private}/root"
        self.view = View(spec.rootfs)
        self.operations: list[list[Any]] = []
        self.writable = [] if spec.read_only else [self.root]
        if os.geteuid() != 0:
            # Of root's own programs even sysrq-trigger would be within reach there.
            self.writable.append("/proc")
        for mount in spec.mounts:
            place = self.view.resolve(mount.target)
            self.view.bind(place, mount.source, os.path.isdir(mount.source))

    def temporary_places(self) -> None:
        """/tmp and /var/tmp can be written by everybody, whatever the image has there."""
        for path in ("/tmp", "/var/tmp"):
            self._own_directory(self.view.resolve(path), 0o1777)

    def devices(self) -> None:
        """A /dev of links to the host's usual devices and to those that were asked for."""
        self._cover("/proc")
        self._own_directory("/proc", 0o755)
        self._cover("/dev")
        self._own_directory("/dev", 0o755)
        self._own_directory("/dev/shm", 0o1777)
        for name in _DEVICES:
            if os.path.exists(f"/dev/{name}"):
                self._show(f"/dev/{name}", f"/dev/{name}")
        for device in self._spec.devices:
            self._show(device.source, posixpath.normpath(device.target))
        for name, target in _DEVICE_LINKS:
            self.operations.append(["make_link", f"{self.root}/dev/{name}", target])

    def files(self) -> None:
        """Private copies of a few files, in place of the image's."""
        for path, text in self._spec.files:
            place = self.view.resolve(path)
            if not self.view.covered(place):
                self._cover(place)
                self.operations.append(["make_file", self.root + place, text])

    def mounts(self) -> None:
        """Links to what was asked for; the host's own path of it leads there too.

        A program that asks where it is gets that path.
        """
        for mount in self._spec.mounts:
            place = self.view.resolve(mount.target)
            above = self.view.resolve(posixpath.dirname(mount.source))
            if not self.view.covered(above + "/x") and not os.path.lexists(self.view.host(above)):
                self.operations.append(["make_directory", self.root + above, 0o755])
            if self.view.covered(place):
                self._check_room(mount, place)
            else:
                self._cover(place)
            there = f"{self.on_host(posixpath.dirname(place))}/{posixpath.basename(place)}"
            self.operations.append(["make_link", there, mount.source])
            if not mount.read_only:
                self.writable.append(mount.source)

    def working_dir(self) -> str:
        """The directory to start in, which exists, as a place of this host."""
        place = self.on_host(self.view.resolve(self._spec.working_dir))
        self.operations.append(["make_directory", place, 0o755])
        return place

    def on_host(self, path: str) -> str:
        """Where a place in the container is on this host, once the tree is made."""
        place = self.view.host(self.view.resolve(path))
        rootfs = self._spec.rootfs
        if place == rootfs or place.startswith(rootfs + "/"):
            return self.root + place[len(rootfs) :]
        return place

    def excluded(self) -> list[str]:
        """What libfakechroot leaves alone: /proc, and what is mounted by its path on this host.

        Not where the image has something of the same name, or something else is mounted below.
        """
        found = ["/proc"]
        targets = [mount.target for mount in self._spec.mounts]
        for mount in sorted(self._spec.mounts, key=lambda m: not os.path.isdir(m.source)):
            source = mount.source
            hidden = any(t.startswith(source + "/") for t in targets) and source not in targets
            known = source not in targets and os.path.lexists(
                self._spec.rootfs + self.view.resolve(source)
            )
            if ":" not in source and source != "/" and not hidden and not known:
                found.append(source)
        return found[:_EXCLUDED]

    def guarded(self) -> list[str]:
        """Places of the host whose modes, owners and times must stay as they are."""
        read_only = [mount.source for mount in self._spec.mounts if mount.read_only]
        return [*read_only, *([self.root] if self._spec.read_only else [])]

    def _check_room(self, mount: Mount, place: str) -> None:
        """Below another mount the link is made in that one's source, where nothing may be lost."""
        there = f"{self.on_host(posixpath.dirname(place))}/{posixpath.basename(place)}"
        above = [m for m in self._spec.mounts if place.startswith(m.target.rstrip("/") + "/")]
        if (above and above[-1].read_only) or os.path.lexists(there):
            what = "is read-only" if above and above[-1].read_only else "has something there"
            raise UsageError(
                f"fakechroot cannot mount at {mount.target!r}: the mount above it {what}",
                "mount it elsewhere, or choose another engine",
            )

    def _cover(self, place: str) -> None:
        """Have nothing at a place, whatever the tree has there."""
        aside = f"{self._private}/covered/{len(self.operations)}"
        self.operations.append(["move_away", self.root + place, aside])

    def _show(self, source: str, place: str) -> None:
        self.operations.append(["make_link", self.root + place, source])
        self.writable.append(source)

    def _own_directory(self, place: str, mode: int) -> None:
        if not self.view.covered(place + "/x"):
            self.operations.append(["make_directory", self.root + place, mode])
            self.operations.append(["set_mode", self.root + place, mode])
            if self._spec.read_only and mode == 0o1777:
                self.writable.append(self.root + place)

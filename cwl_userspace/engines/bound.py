"""A root put together of binds: the private directory of one run, and what is bound where.

Nothing is written to the stored tree: its parts are bound into a private directory, so that a
mount point can be made anywhere (see view). Where the tree is a private copy, or the container's
own, it is the root itself. This is a plan; it names operations for ``prepare`` and does none.
"""

from __future__ import annotations

import os
import posixpath

from cwl_userspace.engines.view import View
from cwl_userspace.errors import UsageError
from cwl_userspace.nsplaces import DEVICE_LINKS, DEVICES, TERMINALS
from cwl_userspace.script import NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cwl_userspace.spec import ContainerSpec

SHIM = f"/dev/{NAME}"


def writes_to_copy(spec: ContainerSpec) -> bool:
    """True for emulated root, which writes to the root: here there is but a copy to write to."""
    return spec.identity.emulate_root and not spec.read_only and not spec.own_tree


class Bind:
    """A place of the host, and where it is to be seen in the container, no link on the way."""

    __slots__ = ("device", "directory", "place", "read_only", "source")

    def __init__(
        self,
        source: str,
        place: str,
        directory: bool,
        read_only: bool = False,
        device: bool = False,
    ) -> None:
        self.source = source
        self.place = place
        self.directory = directory
        self.read_only = read_only
        self.device = device


class Bound:
    """The plan of one run; its methods are to be called in the order in which things are mounted.

    ``root`` is the directory that becomes the root; ``whole`` says that it is a tree which this
    container may write, not one that is put together.
    """

    def __init__(self, spec: ContainerSpec, private: str, copy: bool) -> None:
        self._spec = spec
        self._private = private
        self._copy = copy
        self.whole = copy or spec.own_tree
        self.root = spec.rootfs if spec.own_tree else f"{private}/root"
        self.view = View(spec.rootfs)
        self._operations: list[list[Any]] = []
        self._binds: list[Bind] = []
        self._links = 0

    def prepare(self, *operation: Any) -> None:
        """Have another operation done beforehand."""
        self._operations.append(list(operation))

    def everything(self, machine: str) -> None:
        """All of it, in order, for an engine that makes a /proc and a /dev of its own."""
        self.mounted("/proc")
        self.mounted("/dev")
        self.devices()
        self.shim(machine)
        self.temporary_places()
        self.mounts()
        self.files()
        self.working_dir()

    def host_devices(self) -> None:
        """For engines without a /dev of their own: the usual devices in a private directory."""
        self.private_directory("/dev", 0o755)
        for name in (*DEVICES, *TERMINALS):
            if os.path.exists(f"/dev/{name}"):
                self.bind(f"/dev/{name}", f"/dev/{name}", directory=name == "pts", device=True)
        for name, target in DEVICE_LINKS:
            self.prepare("make_link", f"{self._private}/dev/{name}", target)

    def devices(self) -> None:
        """Device nodes that were asked for."""
        for device in self._spec.devices:
            self.bind(device.source, self.view.resolve(device.target), device=True)

    def mounted(self, place: str, mode: int = 0o755) -> None:
        """Have room for what the engine itself mounts, a new /proc or /dev."""
        aside = f"{self._private}{place}"
        self.prepare("make_directory", aside, mode)
        self.prepare("make_real_directory", self.root + place)
        self.view.bind(place, aside, directory=True)

    def shim(self, machine: str) -> None:
        """The status shim, at its place."""
        path = f"{self._private}/shim"
        self.prepare("make_status_shim", path, machine)
        self.bind(path, SHIM, read_only=True)

    def temporary_places(self) -> None:
        """/tmp and /var/tmp can be written by everybody, whatever the image has there.

        They are the tree's where what is written to the tree stays.
        """
        mounted = {mount.target for mount in self._spec.mounts}
        stays = self._spec.own_tree and not self._spec.read_only
        for path in ("/tmp", "/var/tmp"):
            if path in mounted:
                continue
            place = self.view.resolve(path)
            if stays:
                self.prepare("share_directory", self._spec.rootfs + place)
            else:
                self.private_directory(place, 0o1777)

    def mounts(self) -> None:
        """What was asked for; raise UsageError where there is no room for it."""
        for mount in self._spec.mounts:
            place = self.view.resolve(mount.target)
            self._check_room(mount.target, place)
            self.bind(mount.source, place, os.path.isdir(mount.source), mount.read_only)

    def files(self) -> None:
        """Private copies of a few files."""
        for number, (path, text) in enumerate(self._spec.files):
            copy = f"{self._private}/files/{number}-{posixpath.basename(path)}"
            self.prepare("make_file", copy, text)
            self.bind(copy, self.view.resolve(path), read_only=self._spec.read_only)

    def working_dir(self) -> None:
        """The directory to start in exists."""
        place = self.view.resolve(self._spec.working_dir)
        if not os.path.isdir(self.view.host(place)):
            if not self.view.covered(place):
                self.view.expand(place)
            self.prepare("make_directory", self._place_on_host(place), 0o755)

    def private_directory(self, place: str, mode: int) -> None:
        """An empty directory of this run's own."""
        source = f"{self._private}{place}"
        self.prepare("make_directory", source, mode)
        self.bind(source, place, directory=True)

    def bind(
        self,
        source: str,
        place: str,
        directory: bool = False,
        read_only: bool = False,
        device: bool = False,
    ) -> None:
        """Have a place of the host at a place in the container, which is resolved."""
        self.view.bind(place, source, directory)
        self._binds.append(Bind(source, place, directory, read_only, device))

    def tree(self) -> list[Bind]:
        """The parts of the stored tree, to be bound first."""
        rootfs = self._spec.rootfs
        places = [] if self.whole else self.view.parts()["binds"]
        return [Bind(rootfs + p, p, os.path.isdir(rootfs + p), read_only=True) for p in places]

    def asked(self) -> list[Bind]:
        """All else that is to be bound, in order."""
        return self._binds

    def operations(self) -> list[list[Any]]:
        """All that is to be made beforehand."""
        parts = self.view.parts()
        operations: list[list[Any]] = [["make_directory", self._private, 0o700]]
        if self._copy:
            operations.append(["copy_tree", self._spec.rootfs, self.root])
        elif not self.whole:
            operations += [["make_directory", self.root + p, 0o755] for p in parts["directories"]]
            operations += [["make_link", self.root + p, t] for p, t in parts["links"]]
        operations += [_room(self.root + b.place, b.directory) for b in self.tree()]
        operations += self._operations
        return operations + [_room(self._place_on_host(b.place), b.directory) for b in self._binds]

    def without_colon(self, source: str) -> str:
        """For engines that cut at the first colon: a source with one is reached through a link."""
        return self.linked(source) if ":" in source else source

    def linked(self, source: str) -> str:
        """A link to a source whose name an engine cannot take."""
        self._links += 1
        link = f"{self._private}/links/{self._links}"
        self.prepare("make_link", link, source)
        return link

    def writable(self) -> list[str]:
        """Places of the host that the container may write to, for engines that mount nothing."""
        places = [] if self._spec.read_only else [self._private, self.root]
        return places + [bind.source for bind in self._binds if not bind.read_only]

    def guarded(self) -> list[str]:
        """Places of the host whose modes, owners and times must stay as they are."""
        read_only = [mount.source for mount in self._spec.mounts if mount.read_only]
        stored = [] if self.whole else [self._spec.rootfs]
        own = [self.root, f"{self._private}/files"] if self._spec.read_only else []
        return [*stored, *own, *read_only]

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


def _room(place: str, directory: bool) -> list[Any]:
    return ["make_directory", place, 0o755] if directory else ["make_room", place]

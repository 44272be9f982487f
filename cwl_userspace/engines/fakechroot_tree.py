"""The private tree of one run with fakechroot: what is changed in the copy of an image's tree.

There are no mounts, so what would be mounted becomes a link, and what is there is moved away.
"""

from __future__ import annotations

import os
import posixpath

from cwl_userspace.engines.view import View
from cwl_userspace.errors import UsageError
from cwl_userspace.nsplaces import DEVICE_LINKS, DEVICES, TERMINALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cwl_userspace.spec import ContainerSpec, Mount

# libfakechroot takes no more (EXCLUDE_LIST_SIZE).
_EXCLUDED = 100


class Tree:
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
        for name in (*DEVICES, *TERMINALS):
            if os.path.exists(f"/dev/{name}"):
                self._show(f"/dev/{name}", f"/dev/{name}")
        for device in self._spec.devices:
            self._show(device.source, posixpath.normpath(device.target))
        for name, target in DEVICE_LINKS:
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

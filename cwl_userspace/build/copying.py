"""COPY and ADD as a layer: where each file goes (Dockerfile reference, "COPY")."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Sequence

from cwl_userspace.build.layer import check_name
from cwl_userspace.build.problem import Problem
from cwl_userspace.build.sources import Item, Source
from cwl_userspace.engines.view import View
from cwl_userspace.image import tar
from cwl_userspace.image.tarwriter import Writer, content_of


class Copying:
    """Writes files to a layer, at their places in a tree as it is now."""

    def __init__(self, writer: Writer, rootfs: str, mode: int | None) -> None:
        self._writer = writer
        self._rootfs = rootfs
        self._view = View(rootfs)
        self._mode = mode
        self._written: set[str] = set()
        self._linked: dict[tuple[int, int], bytes] = {}

    def copy(self, sources: Sequence[Source], target: str, as_directory: bool) -> None:
        """Copy sources to an absolute place; ``as_directory`` if it was written as a directory."""
        place = self._view.resolve(target)
        on_host = self._rootfs + place
        exists = os.path.isdir(on_host)
        for source in sources:
            if not source.is_directory:
                inside = as_directory or exists
                name = os.fsdecode(source.basename)
                self._item(source.items[0], posixpath.join(place, name) if inside else place)
                continue
            if os.path.lexists(on_host) and not exists:
                raise Problem(
                    f"{target!r} is a file, and so no place for a directory", "name another"
                )
            for item in source.items:
                self._item(item, self._place(place, item))

    def make_directory(self, target: str) -> None:
        """A directory with all above it, as WORKDIR makes it; one that is there stays as it is."""
        place = self._view.resolve(target)
        if not os.path.isdir(self._rootfs + place):
            self._parents(posixpath.join(place, "x"), 0)

    def _place(self, place: str, item: Item) -> str:
        """Where an item of a directory goes; a link to a directory in the tree is followed."""
        inner = posixpath.join(place, os.fsdecode(item.name)) if item.name else place
        if stat.S_ISDIR(item.found.st_mode):
            return self._view.resolve(inner)
        return posixpath.join(
            self._view.resolve(posixpath.dirname(inner)), posixpath.basename(inner)
        )

    def _item(self, item: Item, place: str) -> None:
        mode, mtime = item.found.st_mode, item.found.st_mtime_ns // 1_000_000_000
        # The directory that is copied lends its contents, and not its mode, as in Docker.
        own = stat.S_IMODE(mode) if item.name or not stat.S_ISDIR(mode) else 0o755
        bits = (own if self._mode is None else self._mode) & 0o1777
        self._parents(place, mtime)
        name = os.fsencode(place.lstrip("/"))
        check_name(name)
        if stat.S_ISDIR(mode):
            if place not in self._written:
                self._directory(place, bits, mtime)
        elif stat.S_ISLNK(mode):
            self._writer.link(name, os.readlink(item.path), mtime)
        elif stat.S_ISREG(mode):
            self._regular(item, name, bits, mtime)

    def _regular(self, item: Item, name: bytes, mode: int, mtime: int) -> None:
        key = (item.found.st_dev, item.found.st_ino)
        if item.found.st_nlink > 1:
            earlier = self._linked.setdefault(key, name)
            if earlier != name:
                self._writer.hard_link(name, earlier, mode, mtime)
                return
        entry = tar.Entry(tar.REGULAR, name, b"", mode, item.found.st_size, mtime)
        self._writer.entry(entry, content_of(item.path))

    def _parents(self, place: str, mtime: int) -> None:
        """The directories above a place: those that are there with the mode and time they have."""
        above = posixpath.dirname(place)
        if above in self._written:
            return
        if above != "/":
            self._parents(above, mtime)
        self._directory(above, 0o755, mtime)

    def _directory(self, place: str, mode: int, mtime: int) -> None:
        """A directory; one that the tree has keeps its mode and its time."""
        self._written.add(place)
        try:
            found = os.lstat(self._rootfs + place)
            if stat.S_ISDIR(found.st_mode):
                mode, mtime = stat.S_IMODE(found.st_mode), found.st_mtime_ns // 1_000_000_000
        except OSError:
            pass
        self._writer.directory(os.fsencode(place.strip("/")), mode, mtime)

"""What COPY and ADD take: files of the context or of another image's tree, found and listed.

Links on the way to a source are resolved inside the place, as if it were ``/``, so that no source
is ever outside of it. A source that is itself a link is followed; links in a directory are not.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cwl_userspace.build.patterns import Ignored, is_pattern, step
from cwl_userspace.build.problem import Problem
from cwl_userspace.errors import LayerError
from cwl_userspace.image.confine import Missing, Parts, Root, split
from cwl_userspace.image.tarwriter import content_of

_LINK_LIMIT = 40


class Item(NamedTuple):
    """One file to copy: its name below the source, empty for the source itself, and what it is."""

    name: bytes
    path: bytes
    found: os.stat_result


class Source(NamedTuple):
    """One source: the last step of its name, its files, parents first, and what kind it is."""

    basename: bytes
    items: tuple[Item, ...]
    is_directory: bool


class Place:
    """A directory of the host that sources are taken from."""

    def __init__(self, path: str, label: str, ignored: Ignored | None = None) -> None:
        self.path = os.fsencode(path)
        self._label = label
        self._ignored = ignored or Ignored(())

    def find(self, text: str, excluded: Ignored) -> list[Source]:
        """The sources that a name or pattern means, in order; raise Problem if there is none."""
        root = Root(self.path)
        try:
            names = self._matching(root, split(os.fsencode(text)))
            found = [self._source(root, name, excluded) for name in sorted(names)]
        finally:
            root.close()
        sources = [source for source in found if source is not None]
        if not sources:
            raise Problem(f"{text!r} is not in {self._label}", "see also .dockerignore")
        return sources

    def _matching(self, root: Root, parts: Parts) -> list[Parts]:
        """All names that fit, step by step; a step without a pattern need not exist yet."""
        names: list[Parts] = [()]
        for part in map(os.fsdecode, parts):
            if not is_pattern(part):
                names = [(*name, os.fsencode(part)) for name in names]
                continue
            pattern = step(part)
            names = [
                (*name, child)
                for name in names
                for child in self._children(root, name)
                if pattern.fullmatch(os.fsdecode(child))
            ]
        return names

    def _children(self, root: Root, name: Parts) -> list[bytes]:
        real = resolve(root, name)
        path = self._path(real) if real is not None else b""
        return os.listdir(path) if path and os.path.isdir(path) else []

    def _path(self, parts: Parts) -> bytes:
        return os.path.join(self.path, *parts)

    def _source(self, root: Root, name: Parts, excluded: Ignored) -> Source | None:
        real = resolve(root, name)
        if real is None:
            return None
        found = os.lstat(self._path(real))
        if not stat.S_ISDIR(found.st_mode):
            if self._is_ignored(name) or os.fsdecode(name[-1]) in excluded:
                return None
            return Source(name[-1], (Item(b"", self._path(real), found),), False)
        if self._is_ignored(name) and not self._ignored.takes_back:
            return None
        items = self._below(name, self._path(real), excluded)
        return Source(name[-1] if name else b"", (Item(b"", self._path(real), found), *items), True)

    def _is_ignored(self, name: Parts) -> bool:
        return bool(name) and os.fsdecode(b"/".join(name)) in self._ignored

    def _below(self, name: Parts, top: bytes, excluded: Ignored) -> list[Item]:
        """Everything in a directory that is not left out, sorted; what is in it comes after it."""
        items: dict[bytes, Item] = {}
        waiting = [b""]
        while waiting:
            above = waiting.pop()
            with os.scandir(os.path.join(top, above)) as entries:
                for entry in entries:
                    inner = os.path.join(above, entry.name)
                    left_out = self._is_ignored((*name, *inner.split(b"/")))
                    left_out = left_out or os.fsdecode(inner) in excluded
                    is_directory = entry.is_dir(follow_symlinks=False)
                    if is_directory and (not left_out or self._ignored.takes_back):
                        waiting.append(inner)
                    if not left_out:
                        found = entry.stat(follow_symlinks=False)
                        items[inner] = Item(inner, os.path.join(top, inner), found)
        for inner in list(items):  # what a "!" took back needs the directories above it
            while (inner := os.path.dirname(inner)) and inner not in items:
                path = os.path.join(top, inner)
                items[inner] = Item(inner, path, os.lstat(path))
        return [items[inner] for inner in sorted(items)]


def resolve(root: Root, parts: Sequence[bytes]) -> Parts | None:
    """The real place of a name below a root, every link resolved there; None if there is none."""
    try:
        return _resolve(root, parts)
    except LayerError:  # links without an end
        return None


def _resolve(root: Root, parts: Sequence[bytes]) -> Parts | None:
    for _ in range(_LINK_LIMIT):
        try:
            walked = root.open_directory(parts, None)
            walked.close()
            return walked.parts
        except Missing:
            *above, last = parts
        try:
            walked = root.open_directory(above, None)
        except Missing:
            return None
        try:
            target = os.readlink(last, dir_fd=walked.fd)
        except FileNotFoundError:
            return None
        except OSError:  # no link, so the end of the search
            return (*walked.parts, last)
        finally:
            walked.close()
        steps = [part for part in target.split(b"/") if part and part != b"."]
        parts = steps if target.startswith(b"/") else [*walked.parts, *steps]
    return None


def digest(sources: Iterable[Source]) -> str:
    """The digest of all that a copy depends on: names, kinds, modes, contents; not times."""
    whole = hashlib.sha256()
    for source in sources:
        whole.update(b"source %b\0%d\0" % (source.basename, source.is_directory))
        for item in source.items:
            mode = item.found.st_mode
            whole.update(b"%o\0%b\0" % (mode, item.name))
            if stat.S_ISLNK(mode):
                whole.update(os.readlink(item.path))
            elif stat.S_ISREG(mode):
                inner = hashlib.sha256()
                for chunk in content_of(item.path):
                    inner.update(chunk)
                whole.update(inner.digest())
    return whole.hexdigest()

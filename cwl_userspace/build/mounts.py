"""``RUN --mount``: what a step sees for its own time alone."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from typing import NamedTuple

from cwl_userspace.build.problem import Problem
from cwl_userspace.build.sources import resolve
from cwl_userspace.image.confine import Root, split
from cwl_userspace.spec import Mount
from cwl_userspace.store.copy import copy_tree

_KNOWN = {
    "bind": ("source", "target", "from"),
    "cache": ("id", "target", "sharing", "mode", "uid", "gid"),
    "tmpfs": ("target", "size"),
}
_SWITCHES = ("ro", "rw")
_SAME = {"src": "source", "dst": "target", "destination": "target", "readwrite": "rw",
         "readonly": "ro"}  # fmt: skip
# What Go's strconv.ParseBool takes, as BuildKit reads switches with it.
_TRUTHS = {**dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
           **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False)}  # fmt: skip


class Wanted(NamedTuple):
    """One mount: its kind, its settings by their full names, and whether it is only read."""

    kind: str
    settings: dict[str, str]
    read_only: bool


def parse(text: str) -> Wanted:
    """Read ``type=...,target=...``; raise Problem for what cannot be done."""
    settings: dict[str, str] = {}
    switched: bool | None = None
    for part in text.split(","):
        given, equals, value = part.partition("=")
        name = _SAME.get(given.lower(), given.lower())
        if name in _SWITCHES:
            switched = _truth(part, value if equals else "true") == (name == "ro")
        elif not equals:
            raise Problem(f"has a mount with {part!r}, which has no value", "expected KEY=VALUE")
        else:
            settings[name] = value
    kind = settings.pop("type", "bind").lower()
    if kind not in _KNOWN:
        raise Problem(
            f"has a mount of the type {kind!r}, which is not supported",
            "expected bind, cache, tmpfs",
        )
    for name in settings:
        if name not in _KNOWN[kind]:
            known = ", ".join((*_KNOWN[kind], *_SWITCHES))
            raise Problem(f"has a {kind} mount with the setting {name!r}", f"expected {known}")
    if not settings.get("target"):
        raise Problem(f"has the mount {text!r} without a target", "expected target=DIR")
    return Wanted(kind, settings, kind == "bind" if switched is None else switched)


def _truth(part: str, value: str) -> bool:
    if value not in _TRUTHS:
        raise Problem(f"has a mount with {part!r}", "expected true or false")
    return _TRUTHS[value]


class Mounts:
    """Makes what is to be mounted. ``place`` gives the directory that a ``from`` means."""

    def __init__(
        self, private: str, place: Callable[[str], str], cache: Callable[[str], str]
    ) -> None:
        self._private = private
        self._place = place
        self._cache = cache

    def make(self, wanted: Wanted, working_dir: str) -> Mount:
        """The mount for a step; raise Problem for a source that is not there."""
        target = posixpath.join(working_dir, wanted.settings["target"])
        if wanted.kind == "cache":
            name = wanted.settings.get("id") or posixpath.normpath(target)
            return Mount(self._cache(name), target, wanted.read_only)
        aside = os.path.join(self._private, f"mount-{os.urandom(6).hex()}")
        if wanted.kind == "tmpfs":
            os.mkdir(aside, 0o755)
            return Mount(aside, target, wanted.read_only)
        source = self.source(wanted)
        if wanted.read_only:
            return Mount(source, target, read_only=True)
        if not os.path.isdir(source):
            raise Problem("has a bind mount of a file that can be written", "mount a directory")
        copy_tree(source, aside)  # what a step writes there is forgotten
        return Mount(aside, target)

    def source(self, wanted: Wanted) -> str:
        """The real place that a bind mount shows."""
        top = self._place(wanted.settings.get("from", ""))
        text = wanted.settings.get("source", "")
        root = Root(top)
        try:
            real = resolve(root, split(os.fsencode(text)))
        finally:
            root.close()
        if real is None:
            raise Problem(f"mounts {text!r}, which is not there", "see also .dockerignore")
        return os.path.join(top, os.fsdecode(b"/".join(real))) if real else top

"""What of the host a container sees, and where it starts: singularity's rules, as mounts."""

from __future__ import annotations

import os
import posixpath
import re

from cwl_userspace.cli.mounts import mount
from cwl_userspace.errors import UsageError
from cwl_userspace.spec import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cwl_userspace.cli.words import Words

_SYSTEM = ("/", "/bin", "/etc", "/lib", "/lib64", "/mnt", "/opt", "/sbin", "/usr", "/var")
_KERNEL = ("/dev", "/proc", "/sys")
_COLON = re.compile(r"(?<!\\):")
_COMMA = re.compile(r"(?<!\\),")


class Places:
    """The mounts of a container, its home, its working directory, and what must be made for them.

    ``made`` are directories of the host that are the container's alone and are removed after it.
    """

    __slots__ = ("home", "made", "mounts", "working_dir")

    def __init__(self) -> None:
        self.mounts: list[Mount] = []
        self.home = ""
        self.working_dir = ""
        self.made: list[str] = []


def places(words: Words, rootfs: str, home: str, cwd: str, private: str) -> Places:
    """Where a container's files are.

    ``home`` and ``cwd`` are the caller's, ``private`` a path below which directories may be made.
    Raise UsageError for what is not there.
    """
    found = Places()
    hidden = {name for text in words.list("no-mount") for name in text.split(",")}
    contained = words.flag("contain")
    own = _Own(words, private, found)
    _home(words, found, home, contained, hidden, own)
    if contained:
        own.work("/tmp", "tmp")
        own.work("/var/tmp", "var_tmp")
    elif "tmp" not in hidden:
        for path in ("/tmp", "/var/tmp"):
            if os.path.isdir(path):
                found.mounts.append(Mount(os.path.realpath(path), path))
    if not contained and not hidden & {"cwd", "hostfs"} and _shown(cwd):
        found.mounts.append(Mount(os.path.realpath(cwd), cwd))
    for text in words.list("scratch"):
        for directory in text.split(","):
            own.scratch(directory, words.typed("scratch"))
    for text in words.list("bind"):
        found.mounts += binds(text, words.typed("bind"))
    found.mounts += [mount(text) for text in words.list("mount")]
    found.working_dir = words.value("pwd") or _working_dir(found, rootfs, cwd)
    return found


def _home(
    words: Words, found: Places, home: str, contained: bool, hidden: set[str], own: _Own
) -> None:
    source, _, target = words.value("home").partition(":")
    asked = bool(source)
    source = os.path.abspath(source or home)
    found.home = target or (source if asked or not words.flag("fakeroot") else "/root")
    if words.flag("no-home") or "home" in hidden:
        return
    if contained and not asked:
        own.directory(found.home, "home")
    elif os.path.isdir(source) and found.home != "/":
        found.mounts.append(Mount(os.path.realpath(source), found.home))
    elif asked:
        raise UsageError(
            f"{words.typed('home')} is {words.value('home')!r}",
            "expected a directory that is there",
        )


class _Own:
    """Makes directories that are the container's alone, below --workdir if that was given."""

    def __init__(self, words: Words, private: str, found: Places) -> None:
        workdir = words.value("workdir")
        self._workdir = os.path.abspath(workdir) if workdir else ""
        self._private = private
        self._found = found
        if workdir and not os.path.isdir(workdir):
            raise UsageError(
                f"{words.typed('workdir')} is {workdir!r}", "expected a directory that is there"
            )

    def work(self, target: str, name: str) -> None:
        """A directory below --workdir; without that the engine has one in memory."""
        if self._workdir:
            self.directory(target, name)

    def scratch(self, target: str, option: str) -> None:
        """An empty directory at a place."""
        name = target.strip("/")
        if not name or ".." in name.split("/"):
            raise UsageError(f"{option} is {target!r}", "expected a directory of the container")
        self.directory(f"/{name}", f"scratch/{name}")

    def directory(self, target: str, name: str) -> None:
        """A directory of this name at a place in the container."""
        path = os.path.join(self._workdir or self._private, name)
        if not self._workdir:
            self._found.made.append(path)
        else:
            os.makedirs(path, mode=0o700, exist_ok=True)
        self._found.mounts.append(Mount(path, target))


def binds(text: str, option: str) -> Iterator[Mount]:
    """``SRC[:DST[:OPTIONS]]``, several with commas between them; ``\\:`` and ``\\,`` are plain.

    Options of a bind may have commas themselves, so what is only options belongs to the one before.
    """
    pieces: list[str] = []
    for piece in _COMMA.split(text):
        if pieces and piece in ("ro", "rw", "nodev", "nosuid", "noexec"):
            pieces[-1] += f",{piece}"
        elif piece:
            pieces.append(piece)
    for piece in pieces:
        parts = [part.replace("\\:", ":").replace("\\,", ",") for part in _COLON.split(piece)]
        if len(parts) > 3 or not parts[0]:
            raise UsageError(f"{option} is {piece!r}", "expected SRC[:DST[:ro]]")
        source, target, options = [*parts, "", ""][:3]
        real = os.path.realpath(source)
        if not os.path.exists(real):
            raise UsageError(f"the source {source!r} of {option} does not exist", "make it first")
        yield Mount(real, target or os.path.abspath(source), "ro" in options.split(","))


def _shown(cwd: str) -> bool:
    """True for a working directory that is to be seen: not the host's own system."""
    within = any(cwd == top or cwd.startswith(f"{top}/") for top in _KERNEL)
    return cwd not in _SYSTEM and not within


def _working_dir(found: Places, rootfs: str, cwd: str) -> str:
    """The caller's directory where the container has it, else the home, else the root."""
    for place in (cwd, found.home):
        if place and (_within(place, found) or os.path.isdir(rootfs + posixpath.normpath(place))):
            return place
    return "/"


def _within(path: str, found: Places) -> bool:
    return any(
        path == place.target
        or (
            path.startswith(f"{place.target.rstrip('/')}/")
            and os.path.isdir(place.source + path.removeprefix(place.target.rstrip("/")))
        )
        for place in found.mounts
    )

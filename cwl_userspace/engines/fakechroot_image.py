"""What fakechroot needs of an image: dynamic programs, and a glibc that fits the host's library."""

from __future__ import annotations

import glob
import os
import posixpath

from cwl_userspace.engines.lookup import find_program, loader
from cwl_userspace.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cwl_userspace.engines.view import View
    from cwl_userspace.spec import ContainerSpec

_DIRECTORIES = (
    "/lib/{machine}-linux-gnu",
    "/usr/lib/{machine}-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
)
_SCRIPTS = 5  # interpreters that are scripts themselves (execve(2))
_HINT = "choose another engine, proot for example"


def program_in(view: View, spec: ContainerSpec, needs: Sequence[str]) -> tuple[str, list[str], str]:
    """The program to execute, its arguments, the first being its name, and the ld.so to load it.

    All are places in the container; the last is empty where the host's ld.so is the same. A script
    is given to its interpreter, since the kernel would look for that on the host. Raise
    CommandNotFound, CommandNotExecutable, or EngineError for what fakechroot cannot run.
    """
    path = spec.environment.get("PATH", "")
    argv = list(spec.argv)
    place = find_program(view, argv, path, spec.working_dir)
    for _ in range(_SCRIPTS):
        with open(view.host(view.resolve(place)), "rb") as file:
            start = file.read(4096)
        if not start.startswith(b"#!"):
            break
        words = os.fsdecode(start[2:].partition(b"\n")[0]).strip().split(None, 1)
        argv = [*words, place, *argv[1:]]
        place = find_program(view, words, path, spec.working_dir)
    interpreter = os.fsdecode(b"".join(loader(start)))
    _check(view, spec.argv[0], interpreter, needs)
    same = _content(interpreter) == _content(view.host(view.resolve(interpreter)))
    return place, argv, "" if same else interpreter


def library_path(view: View, spec: ContainerSpec) -> list[str]:
    """Where ld.so is to look, in the container: its own places there, in its order (ld.so(8))."""
    machine = os.uname().machine
    asked = spec.environment.get("LD_LIBRARY_PATH", "").split(":")
    usual = [path.format(machine=machine) for path in _DIRECTORIES]
    usual = [*_configured(view, "/etc/ld.so.conf"), *usual]
    known = [path for path in usual if os.path.isdir(view.host(view.resolve(path)))]
    return list(dict.fromkeys([*filter(None, asked), *known]))


def _configured(view: View, path: str, depth: int = 0) -> list[str]:
    """The directories of ld.so.conf (ldconfig(8)); what it includes is in the container too."""
    found: list[str] = []
    try:
        with open(view.host(view.resolve(path)), encoding="utf-8", errors="replace") as file:
            lines = [line.partition("#")[0].split() for line in file.read(1 << 16).splitlines()]
    except OSError:
        return []
    for words in filter(None, lines):
        if words[0] != "include":
            found += [word for word in words if word.startswith("/")]
        elif depth == 0 and len(words) > 1:
            pattern = posixpath.join("/etc", words[1])
            directory = posixpath.dirname(pattern)
            names = glob.glob(posixpath.basename(pattern), root_dir=view.host(directory))
            for name in sorted(names):
                found += _configured(view, f"{directory}/{name}", depth + 1)
    return found


def _check(view: View, name: str, interpreter: str, needs: Sequence[str]) -> None:
    """Raise for a program that libfakechroot cannot get into."""
    if not interpreter:
        raise EngineError(
            f"fakechroot runs dynamic programs only, and {name!r} is a static one", _HINT
        )
    if "musl" in posixpath.basename(interpreter):
        raise EngineError(
            f"fakechroot runs programs of glibc only, and {name!r} is one of musl", _HINT
        )
    has = _versions(view, interpreter)
    missing = [version for version in needs if version.encode() not in has]
    if missing:
        raise EngineError(
            f"this host's libfakechroot.so needs {missing[-1]}, which the image's C library lacks",
            _HINT,
        )


def _versions(view: View, interpreter: str) -> bytes:
    """The names in the image's libc.so.6, among them those of its versions."""
    machine = os.uname().machine
    places = [path.format(machine=machine) for path in _DIRECTORIES]
    for directory in (posixpath.dirname(interpreter), *places):
        found = _content(view.host(view.resolve(f"{directory}/libc.so.6")))
        if found:
            return found
    return b""


def _content(path: str) -> bytes:
    """A file's bytes; nothing where there is no such file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""

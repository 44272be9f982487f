"""Find programs: an engine's own on the host, and that of a container before it starts.

Who starts the latter can tell no more than a code, so what is wrong with it is found out here.
"""

from __future__ import annotations

import os
import posixpath
import stat
import struct

from cwl_userspace.errors import CommandNotExecutable, CommandNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cwl_userspace.engines.view import View

_LOADER_SEGMENT = 3
# e_machine of what the processor runs, the older kind included.
_MACHINES = {"x86_64": (62, 3), "aarch64": (183, 40)}
_HINT = "see what it has with cwl-userspace run IMAGE ls"


def on_path(name: str, path: str) -> str:
    """The first program of that name on a PATH of the host; empty if there is none."""
    for directory in path.split(":"):
        candidate = os.path.join(directory, name)
        if directory and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return os.path.abspath(candidate)
    return ""


def find_program(view: View, argv: Sequence[str], path: str, working_dir: str) -> str:
    """The place in the container of the program that ``argv`` names, as execvp(3) finds it.

    Raise CommandNotFound (127) if there is none and CommandNotExecutable (126) if it cannot be
    executed, as Docker does.
    """
    name = argv[0]
    if "/" in name:
        places = [posixpath.join(working_dir, name)]
    else:
        places = [
            posixpath.join(working_dir, directory or ".", name) for directory in path.split(":")
        ]
    unusable = ""
    for place in places:
        found = view.resolve(place)
        try:
            mode = os.stat(view.host(found), follow_symlinks=False).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and mode & 0o111:
            _check_format(view, name, found)
            return place
        unusable = "it is not a program" if not stat.S_ISREG(mode) else "permission denied"
    if unusable:
        raise CommandNotExecutable(f"cannot execute {name!r}: {unusable}", _HINT)
    where = "" if "/" in name else f" on PATH {path}"
    raise CommandNotFound(f"no program {name!r} in the image{where}", _HINT)


def _check_format(view: View, name: str, place: str) -> None:
    """Raise for a script or program that the kernel, or proot, would refuse to start."""
    try:
        with open(view.host(place), "rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise CommandNotExecutable(f"cannot execute {name!r}: {error.strerror}", _HINT) from None
    if start.startswith(b"#!"):
        needed = start[2:].partition(b"\n")[0].split()[:1]
    elif start.startswith(b"\x7fELF") and len(start) >= 64:
        (machine,) = struct.unpack_from("<H", start, 18)
        if machine not in _MACHINES.get(os.uname().machine, (machine,)):
            raise CommandNotExecutable(
                f"cannot execute {name!r}: it is for another processor",
                "take the image for this one with --platform",
            )
        needed = loader(start)
    else:
        raise CommandNotExecutable(f"cannot execute {name!r}: it is no program or script", _HINT)
    for interpreter in map(os.fsdecode, needed):
        if not os.path.exists(view.host(view.resolve(interpreter))):
            raise CommandNotFound(
                f"no program {name!r} in the image: it needs {interpreter!r}, which is not there",
                _HINT,
            )


def loader(start: bytes) -> list[bytes]:
    """What loads a dynamic program (elf(5), PT_INTERP of 64 bits); nothing for a static one."""
    if start[4] != 2:
        return []
    (table,) = struct.unpack_from("<Q", start, 32)
    size, count = struct.unpack_from("<HH", start, 54)
    for at in range(table, min(table + size * count, len(start) - 39), size or 1):
        if struct.unpack_from("<I", start, at)[0] == _LOADER_SEGMENT:
            (begin,) = struct.unpack_from("<Q", start, at + 8)
            (length,) = struct.unpack_from("<Q", start, at + 32)
            return [start[begin : begin + length].rstrip(b"\0")]
    return []

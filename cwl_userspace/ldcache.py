"""Find shared libraries of this host as ld.so does, from its cache and its usual directories.

The cache's form is that of glibc since 2.2 (sysdeps/generic/dl-cache.h), alone or after the older
one. Asking ``ldconfig -p`` would start a program on every run.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_OLD = b"ld.so-1.7.0\0"
_NEW = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("=20s2I20x")  # magic, entries, bytes of text
_ENTRY = struct.Struct("=i2II8x")  # flags, name, path, the oldest kernel, processor features
# FLAG_ELF_LIBC6 with FLAG_X8664_LIB64 or FLAG_AARCH64_LIB64, and where such libraries lie.
_FLAGS = {"x86_64": 0x0303, "aarch64": 0x0A03}
_DIRECTORIES = (
    "/usr/lib64",
    "/usr/lib/{machine}-linux-gnu",
    "/usr/lib/{machine}-linux-gnu/nvidia/current",
    "/lib64",
    "/lib/{machine}-linux-gnu",
    "/usr/local/nvidia/lib64",
    "/run/opengl-driver/lib",
)


def libraries(root: str, machine: str, wanted: Callable[[str], bool]) -> dict[str, str]:
    """The real path of each library of this machine whose soname is wanted, by soname.

    ``root`` is where the host's tree is, empty for the host itself. Where the cache has a library
    it is taken from there, else from the first directory that has it. Files that the cache names
    and that are gone are left out.
    """
    found: dict[str, str] = {}
    for soname, path in _cached(f"{root}/etc/ld.so.cache", machine):
        if soname not in found and wanted(soname) and os.path.isfile(root + path):
            found[soname] = os.path.realpath(root + path)
    for directory in _DIRECTORIES:
        place = root + directory.format(machine=machine)
        for name in _entries(place):
            path = f"{place}/{name}"
            if name not in found and wanted(name) and os.path.isfile(path):
                found[name] = os.path.realpath(path)
    return found


def _cached(path: str, machine: str) -> list[tuple[str, str]]:
    """Names and paths of the cache in its own order; nothing where there is none to be read."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        start = 0
        if data.startswith(_OLD):
            (count,) = struct.unpack_from("=I", data, len(_OLD))
            start = (len(_OLD) + 4 + 12 * count + 7) // 8 * 8
        magic, count, _ = _HEADER.unpack_from(data, start)
        if magic != _NEW:
            return []
        data = data[start:]
        found = []
        for number in range(count):
            flags, name, place, _ = _ENTRY.unpack_from(data, _HEADER.size + number * _ENTRY.size)
            if flags & 0xFFFF == _FLAGS.get(machine):
                found.append((_text(data, name), _text(data, place)))
        return found
    except (OSError, struct.error, ValueError):
        return []


def _text(data: bytes, at: int) -> str:
    return os.fsdecode(data[at : data.index(b"\0", at)])


def _entries(directory: str) -> Sequence[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return ()

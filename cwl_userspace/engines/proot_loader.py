"""The loader that a proot program carries inside, to be kept where it can be executed.

proot starts every guest program through a small ELF that it writes out for each run: 5.1 to
/tmp and nowhere else, 5.2 and newer to $PROOT_TMP_DIR. With $PROOT_LOADER naming a copy it
writes nothing at all, so /tmp may be mounted noexec, be full or be closed by Landlock (as long
as every target of a bind exists: for others proot makes a directory in /tmp as well).
"""

from __future__ import annotations

import struct

_MAGIC = b"\x7fELF"
_EXECUTABLE = 2
# EI_CLASS: the environment variable; from e_type on, the format and where in it are e_type,
# e_shoff, e_ehsize, e_shentsize and e_shnum; the size of the header
_CLASSES = {
    2: ("PROOT_LOADER", "<HHIQQQIHHHHHH", 64),
    1: ("PROOT_LOADER_32", "<HHIIIIIHHHHHH", 52),
}


def loaders(program: bytes) -> dict[str, bytes]:
    """Each loader inside *program*, the content of a proot executable, by the name of the
    environment variable that tells proot where a copy is; nothing for what is not there.

    The loaders are whole ELF files in the read-only data, and end with their section headers.
    """
    found: dict[str, bytes] = {}
    at = program.find(_MAGIC, 1)
    while at > 0:
        kind = _CLASSES.get(program[at + 4]) if program[at + 5 : at + 7] == b"\1\1" else None
        if kind and len(program) >= at + kind[2]:
            name, layout, size = kind
            header = struct.unpack_from(layout, program, at + 16)
            end = at + header[5] + header[10] * header[11]
            if header[0] == _EXECUTABLE and header[7] == size and end <= len(program):
                found.setdefault(name, program[at:end])
        at = program.find(_MAGIC, at + 1)
    return found

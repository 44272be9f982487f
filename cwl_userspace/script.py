"""What the status shim is to start, as a block of memory that it maps and need not understand.

The block has its addresses in it already, since the shim maps it at a fixed place. It goes
through a descriptor, and so is seen by nobody else: arguments everybody can read in /proc.
"""

from __future__ import annotations

import errno
import os
import struct

from cwl_userspace.kernel import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

# Where the shim has its block: above itself, and the gigabyte that the kernel moves a break by.
PLACE = 0x50000000
LENGTH = 0x1000000
# path, argv, envp, filters, flags, the signal at the parent's end, attributes of mounts, maps of
# ids, the first of three descriptors that are to be the standard streams
_HEADER = struct.Struct("<QQQQQQQQQ")
_TERMINAL, _HIDDEN = 1, 2
# The shim's file: the kernel names its process so as well, as far as that name goes (proc(5)).
NAME = ".cwl-userspace-status"
# The descriptors that a shim always inherits: to tell of the end on, and its block.
REPORT, BLOCK = 3, 4
# The locator's socket, which follows where a program is traced (see engines.locator).
LOCATOR = 5
# The longest argument (MAX_ARG_STRLEN with the smallest pages), and what all of them and their
# pointers may take: a quarter of the stack's limit, and never more than this (fs/exec.c).
_LONGEST = 0x20000
_MOST = 0x600000


class TooLong(Exception):
    """Arguments and environment are more than the kernel takes."""


def script(
    path: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    terminal: bool = False,
    hidden: bool = False,
    ids: Sequence[int] = (),
    bound: bool = False,
    filters: Sequence[str] = (),
    attributes: Sequence[Sequence[Any]] = (),
    streams: bool = False,
    watched: bool = False,
) -> dict[str, Any]:
    """What a shim is to execute and how, as plain values for a Launch.

    ``terminal``: standard input becomes the controlling terminal. ``hidden``: the shim cannot be
    looked into by what it starts. ``ids``: the user and group that the program becomes, in a user
    name space of its own, where the shim has none but user and group 0. ``bound``: shim and
    program are killed when what started them ends. ``filters``: seccomp filters in hexadecimal.
    ``attributes``: mounts that the shim changes first, for which it must be root of a user name
    space, as pairs of a place and MOUNT_ATTR_* to be set (Linux 5.12). ``streams``: the standard
    streams go by other descriptors, since the engine would
    put pipes in their place. ``watched``: the engine's own program goes on when the shim is
    killed, so the keeper must look after that.
    """
    return {
        "path": path,
        "argv": list(argv),
        "environment": dict(environment),
        "terminal": terminal,
        "hidden": hidden,
        "ids": list(ids),
        "bound": bound,
        "filters": list(filters),
        "attributes": [list(pair) for pair in attributes],
        "streams": streams,
        "watched": watched,
    }


def descriptors(values: Mapping[str, Any], place: str) -> list[int]:
    """Open what a shim inherits as BLOCK and the following for these values.

    ``place`` is a directory to write to where the kernel has no files in memory (before 3.17).
    Raise TooLong, or OSError.
    """
    held = [_file(block(values), place)]
    if values["streams"]:
        held += [os.dup(fd) for fd in (0, 1, 2)]
    return held


def block(values: Mapping[str, Any]) -> bytes:
    """The block of memory for these values; raise TooLong."""
    argv = values["argv"]
    variables = [f"{name}={value}" for name, value in values["environment"].items()]
    if _too_much([os.fsencode(text) for text in (*argv, *variables)]):
        raise TooLong(f"the arguments of {argv[0]!r} are too long for the kernel")
    memory = _Memory()
    attributes = values["attributes"]
    filters = [bytes.fromhex(code) for code in values["filters"]]
    maps = _maps(values["ids"])
    kinds = {pair[1]: memory.put(struct.pack("<4Q", pair[1], 0, 0, 0)) for pair in attributes}
    memory.header(
        memory.text(values["path"]),
        memory.table([memory.text(word) for word in argv], 1),
        memory.table([memory.text(setting) for setting in variables], 1),
        memory.table([w for code in filters for w in (len(code) // 8, memory.put(code))], 2),
        _TERMINAL * values["terminal"] + _HIDDEN * values["hidden"],
        signals.SIGKILL * values["bound"],
        memory.table([w for at, kind in attributes for w in (memory.text(at), kinds[kind])], 1),
        memory.table([w for at, text in maps for w in memory.file(at, text)], 3) if maps else 0,
        BLOCK + 1 if values["streams"] else 0,
    )
    return bytes(memory.content)


class _Memory:
    """Memory that is filled from PLACE on."""

    __slots__ = ("content",)

    def __init__(self) -> None:
        self.content = bytearray(_HEADER.size)

    def put(self, data: bytes) -> int:
        """Add bytes; return their address, a multiple of 8."""
        self.content += bytes(-len(self.content) % 8)
        at = PLACE + len(self.content)
        self.content += data
        return at

    def text(self, text: str) -> int:
        """Add a string with its end."""
        return self.put(os.fsencode(text) + b"\0")

    def table(self, words: Sequence[int], end: int) -> int:
        """Add 64-bit words and as many zeros as tell the end."""
        return self.put(struct.pack(f"<{len(words) + end}Q", *words, *[0] * end))

    def file(self, path: str, text: str) -> tuple[int, int, int]:
        """The words for what is to be written to a file."""
        return self.text(path), self.text(text), len(text)

    def header(self, *words: int) -> None:
        """Write what the shim finds at the beginning."""
        _HEADER.pack_into(self.content, 0, *words)


def _maps(ids: Sequence[int]) -> list[tuple[str, str]]:
    """What to write where for a user and a group in a new user name space."""
    if not ids:
        return []
    uid, gid = ids
    return [
        ("/proc/self/setgroups", "deny"),
        ("/proc/self/uid_map", f"{uid} 0 1"),
        ("/proc/self/gid_map", f"{gid} 0 1"),
    ]


def _file(content: bytes, place: str) -> int:
    """A file without a name that holds this."""
    try:
        fd = os.memfd_create("script")
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENOSYS:
            raise
        path = os.path.join(place, "script")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(path)
    while content:
        content = content[os.write(fd, content) :]
    return fd


def _too_much(texts: list[bytes]) -> bool:
    size = sum(map(len, texts)) + 9 * len(texts)
    most = min(max(os.sysconf("SC_ARG_MAX"), _LONGEST), _MOST)
    return size > most or any(len(text) >= _LONGEST for text in texts)

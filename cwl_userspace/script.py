"""What the status shim is to start, as a block of memory that it maps and need not understand.

The block has its addresses in it already, since the shim maps it at a fixed place. It goes
through a descriptor, and so is seen by nobody else: arguments everybody can read in /proc.
"""

from __future__ import annotations

import errno
import os
import struct

from cwl_userspace.kernel import landlock, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

# Where the shim has its block: above itself, and the gigabyte that the kernel moves a break by.
PLACE = 0x50000000
LENGTH = 0x1000000
_HEADER = struct.Struct("<QQQQQQQ")
_TERMINAL, _HIDDEN = 1, 2
# The descriptors that a shim inherits: to tell of the end on, its block, Landlock's rules.
REPORT, BLOCK, RULES = 3, 4, 5
# The locator's socket, where a program that is traced needs no rules (see engines.locator).
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
    bound: bool = False,
    filters: Sequence[str] = (),
    writable: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What a shim is to execute and how, as plain values for a Launch.

    ``terminal``: standard input becomes the controlling terminal. ``hidden``: the shim cannot be
    looked into by what it starts. ``bound``: it and the program are killed when what started them
    ends. ``filters``: seccomp filters in hexadecimal. ``writable``: the only places of the host
    that can be written to (Landlock), or None for no such rule.
    """
    return {
        "path": path,
        "argv": list(argv),
        "environment": dict(environment),
        "terminal": terminal,
        "hidden": hidden,
        "bound": bound,
        "filters": list(filters),
        "writable": None if writable is None else list(writable),
    }


def descriptors(values: Mapping[str, Any], place: str) -> list[int]:
    """Open what a shim inherits as BLOCK and RULES for these values; the latter only if needed.

    ``place`` is a directory to write to where the kernel has no files in memory (before 3.17).
    Raise TooLong, or OSError.
    """
    held = [_file(block(values), place)]
    if values["writable"] is not None:
        held.append(landlock.write_rules([*values["writable"], *reopened_streams()]))
    return held


def reopened_streams() -> list[str]:
    """The files that are standard output and error: a program may open them again by name."""
    streams = [f"/proc/self/fd/{fd}" for fd in (1, 2)]
    return [stream for stream in streams if os.path.isfile(stream)]


def block(values: Mapping[str, Any]) -> bytes:
    """The block: pointers first, then what they point to."""
    argv = [os.fsencode(word) for word in values["argv"]]
    environment = values["environment"].items()
    variables = [os.fsencode(f"{name}={value}") for name, value in environment]
    if _too_much([*argv, *variables]):
        raise TooLong(f"the arguments of {values['argv'][0]!r} are too long for the kernel")
    filters = [bytes.fromhex(code) for code in values["filters"]]
    argv_at = PLACE + _HEADER.size
    environment_at = argv_at + 8 * (len(argv) + 1)
    filters_at = environment_at + 8 * (len(variables) + 1)
    at = filters_at + 16 * (len(filters) + 1)
    programs = []
    for code in filters:  # struct sock_fprog
        programs.append(struct.pack("<H6xQ", len(code) // 8, at))
        at += len(code)
    texts = [os.fsencode(values["path"]), *argv, *variables]
    places = []
    for text in texts:
        places.append(at)
        at += len(text) + 1
    path_at, *pointers = places
    pointers[len(argv) : len(argv)] = [0]
    flags = _TERMINAL * values["terminal"] + _HIDDEN * values["hidden"]
    rules = 0 if values["writable"] is None else RULES
    end = signals.SIGKILL * values["bound"]
    parts = [
        _HEADER.pack(path_at, argv_at, environment_at, filters_at, flags, end, rules),
        struct.pack(f"<{len(pointers) + 1}Q", *pointers, 0),
        *programs,
        bytes(16),
        *filters,
        *(text + b"\0" for text in texts),
    ]
    return b"".join(parts)


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

"""A log of what a process is at, for tests that kill it: they must know where they have hit it.

Reads the environment: only where ``CWL_USERSPACE_PHASES`` names a file is anything written, a line
``PID +PHASE`` at the beginning of a phase and ``PID -PHASE`` at its end.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DOWNLOAD, EXTRACT, PUBLISH, SYNC, PRUNE = "download", "extract", "publish", "sync", "prune"
_VARIABLE = "CWL_USERSPACE_PHASES"


class phase:
    """A context that is one phase of the work on the store."""

    __slots__ = ("_name", "_path")

    def __init__(self, name: str) -> None:
        self._name = name
        self._path = os.environ.get(_VARIABLE, "")

    def __enter__(self) -> None:
        if self._path:
            self._write("+")

    def __exit__(self, *error: object) -> None:
        if self._path:
            self._write("-")

    def _write(self, sign: str) -> None:
        """One write, so that the lines of several processes do not mix."""
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, f"{os.getpid()} {sign}{self._name}\n".encode())
        finally:
            os.close(fd)


def through(name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same chunks; the phase lasts from the first to the last of them."""
    with phase(name):
        yield from chunks

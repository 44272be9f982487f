"""Where our own words go: a file of the user's, and a terminal if there is one.

A tool's standard error is often a file that the tool's user reads; nothing of ours goes there.
"""

from __future__ import annotations

import os
import time

_LARGEST = 1 << 20


class Log:
    """Writes lines to ``STATE/log``; a line that cannot be written is let go."""

    __slots__ = ("_path", "quiet")

    def __init__(self, state: str, quiet: bool = False) -> None:
        self._path = os.path.join(state, "log")
        self.quiet = quiet

    def say(self, message: str) -> None:
        """A line for the file, and for standard error if that is a terminal."""
        self.note(message)
        if not self.quiet and os.isatty(2):
            os.write(2, f"cwl-userspace: {message}\n".encode("utf-8", "surrogateescape"))

    def note(self, message: str) -> None:
        """A line for the file alone."""
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {os.getpid()} {message}\n"
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            fd = os.open(self._path, flags, 0o600)
            try:
                if os.fstat(fd).st_size > _LARGEST:
                    os.replace(self._path, f"{self._path}.old")
                os.write(fd, line.encode("utf-8", "surrogateescape"))
            finally:
                os.close(fd)
        except OSError:
            pass

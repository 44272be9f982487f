"""Progress of a fetch: one changing line on a terminal, one line in the log otherwise."""

from __future__ import annotations

import os
import time
from types import TracebackType

from cwl_userspace.log import Log

_CLEAR = b"\r\x1b[K"


class Progress:
    """Call it with what is being done now. Nothing is written to standard output."""

    def __init__(self, what: str, log: Log) -> None:
        self._what = what
        self._log = log
        self._terminal = not log.quiet and os.isatty(2)
        self._start = time.monotonic()
        self._used = False

    def __call__(self, doing: str) -> None:
        """Say what is being done."""
        self._used = True
        if self._terminal:
            os.write(2, _CLEAR + f"fetching {self._what}: {doing}".encode())

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._terminal and self._used:
            os.write(2, _CLEAR)
        if self._used and error is None:
            seconds = time.monotonic() - self._start
            self._log.say(f"fetched {self._what} in {seconds:.1f} s")

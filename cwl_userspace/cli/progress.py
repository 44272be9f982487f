"""Progress of a fetch: bars for a person at a terminal, one line in the log otherwise.

Bars are for whoever started this command from a shell, and so as a job of its own: a workflow
engine's children are not. Elsewhere nothing is counted, so that it costs nothing. Standard output
is never written to.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from cwl_userspace.log import Log

if TYPE_CHECKING:
    from cwl_userspace.cli.bars import Bars
    from cwl_userspace.image.source import Source

_CLEAR = b"\r\x1b[K"


def person_looks_on(log: Log) -> bool:
    """True if there is somebody to show a changing picture to."""
    return not log.quiet and os.isatty(2) and os.getpgrp() == os.getpid()


class Progress:
    """The fetch of one image, or of something else; call it with what is being done now.

    ``bars`` are those of a fetch of several images at once; without them it has its own.
    """

    def __init__(self, what: str, log: Log, bars: Bars | None = None) -> None:
        self._what = what
        self._log = log
        self._terminal = person_looks_on(log)
        self._start = time.monotonic()
        self._used = False
        self._bars = bars
        self._shared = bars is not None

    def __call__(self, doing: str) -> None:
        """Say what is being done; bars say it better."""
        self._used = True
        if self._terminal and self._bars is None:
            os.write(2, _CLEAR + f"fetching {self._what}: {doing}".encode())

    def watch(self, sources: Sequence[Source]) -> Sequence[Source]:
        """The same sources; where somebody looks on, their layers are counted as they come."""
        if not self._terminal:
            return sources
        if self._bars is None:
            from cwl_userspace.cli.bars import Bars

            self._bars = Bars()
        return self._bars.watch(self._what, sources)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None and self._shared:
            self._bars.done(self._what)
        elif self._bars is not None:
            self._bars.close()
        elif self._terminal and self._used:
            os.write(2, _CLEAR)
        if self._used and error is None:
            said = f"fetched {self._what} in {time.monotonic() - self._start:.1f} s"
            if self._bars is not None and self._shared:
                self._bars.say(f"cwl-userspace: {said}")
                self._log.note(said)
            else:
                self._log.say(said)

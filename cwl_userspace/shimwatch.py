"""Notice that the status shim has ended without a word, which only a kill makes it do.

Its parent is the engine's own program, which may go on for the sake of what else is left, and
holds the status pipe open.
"""

from __future__ import annotations

import select
import time

from cwl_userspace.kernel import syscalls as sys_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Until the shim is looked for, and where the kernel has no pidfds looked at, again: milliseconds.
_STARTING, _RUNNING = 10, 500
# A shim that was not seen for so long, in seconds, has been killed before anybody looked.
_PATIENCE = 30.0


class ShimWatch:
    """Watches the process that ``find`` gives as soon as it gives one that is not 0."""

    __slots__ = ("_fd", "_find", "_pid", "_poll", "_until")

    def __init__(self, find: Callable[[], int], poll: select.poll) -> None:
        self._find = find
        self._poll = poll
        self._pid = 0
        self._fd = -1
        self._until = time.monotonic() + _PATIENCE

    def timeout(self) -> int | None:
        """Milliseconds until ``look`` is to be called; None where poll() wakes up for it."""
        if not self._pid:
            return _STARTING
        return None if self._fd >= 0 else _RUNNING

    def look(self, ready: Sequence[int]) -> bool:
        """True once the shim has ended, as far as can be seen; ``ready`` is what poll() found."""
        if not self._pid:
            self._pid = self._find()
            if self._pid:
                try:
                    self._fd = sys_.pidfd_open(self._pid)
                    self._poll.register(self._fd, select.POLLIN)
                except OSError:  # there are no pidfds, or it has ended just now
                    self._fd = -1
            return not self._pid and time.monotonic() > self._until
        return self._fd in ready if self._fd >= 0 else self._find() != self._pid

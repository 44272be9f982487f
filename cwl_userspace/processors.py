"""Which processors a container runs on: those asked for, or the ones with the fewest of ours.

Containers that run at the same time tell each other by names of abstract sockets (unix(7)): the
kernel gives a name once and takes it back when its owner ends, however that happens. All users
of a host share them.
"""

from __future__ import annotations

import _socket
import errno
import math
import os

from cwl_userspace.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Collection, Sequence

# How many containers may share a processor before all are taken to be equally full.
_MOST = 64


class Claim:
    """The processors of one container, held until ``close`` or the end of who holds it."""

    __slots__ = ("_sockets", "numbers")

    def __init__(self, cpus: float, cpuset: Sequence[int]) -> None:
        """Choose ceil(``cpus``), 0 for all, of ``cpuset``, () for all that may be used here.

        Raise UsageError for a processor that is not there or not ours to use.
        """
        allowed = sorted(os.sched_getaffinity(0))
        missing = sorted(set(cpuset) - set(allowed))
        if missing:
            raise UsageError(
                f"there is no processor {missing[0]} to run on",
                f"expected some of {_ranges(allowed)} for --cpuset-cpus",
            )
        places = sorted(cpuset) or allowed
        count = min(math.ceil(cpus), len(places)) or len(places)
        self._sockets: list[Socket] = []
        self.numbers = self._take(places, count)

    def close(self) -> None:
        """Let others have them."""
        for socket in self._sockets:
            socket.close()
        self._sockets = []

    def _take(self, places: Sequence[int], count: int) -> list[int]:
        """The least used first; of equally used ones the lowest, which are different cores."""
        taken: list[int] = []
        try:
            for level in range(_MOST):
                for number in places:
                    if len(taken) < count and number not in taken and self._is_free(number, level):
                        taken.append(number)
        except OSError:
            # Sockets are forbidden here, so nobody can tell.
            taken = []
        return sorted(taken) if len(taken) == count else _any(places, count)

    def _is_free(self, number: int, level: int) -> bool:
        socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            socket.bind(f"\0cwl-userspace/processor/{number}/{level}".encode())
        except OSError as error:
            socket.close()
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        self._sockets.append(socket)
        return True


def _any(places: Sequence[int], count: int) -> list[int]:
    """Some of them, by chance: so many containers run that their number tells nothing."""
    first = int.from_bytes(os.urandom(4), "little") % len(places)
    return sorted((list(places) * 2)[first : first + count])


def _ranges(numbers: Collection[int]) -> str:
    """``0-2,7`` (cpuset(7), List format)."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][-1] == number - 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)

"""Standard input for the program: pipes and terminals as they are, a regular file through a pipe.

Docker gives a container a pipe, and some programs print other things for a file (the v1.1
conformance suite's ``wc`` does). What the program did not read is given back to the caller.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FIONREAD = 0x541B
_CHUNK = 1 << 16


def open_closed_streams() -> None:
    """Have the standard streams open, so that nothing else gets their numbers."""
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) < 3:
        os.set_inheritable(fd, True)
    os.close(fd)


class Relay:
    """Feeds a pipe from the regular file that standard input is."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self._pending = b""
        self._registered = False

    @classmethod
    def for_standard_input(cls) -> Relay | None:
        """A relay if standard input is a regular file, else None: then it is passed unchanged."""
        return cls(0) if stat.S_ISREG(os.fstat(0).st_mode) else None

    def become_standard_input(self) -> None:
        """In the child: the pipe takes the file's place."""
        os.dup2(self._read_end, 0)
        os.close(self._read_end)
        os.close(self._write_end)

    def forked(self) -> None:
        """In the parent: fill the pipe, which is all there is to do for a small file."""
        self._feed()

    def register(self, poll: select.poll) -> None:
        """Have ``serve`` called when the pipe can take more."""
        if self._write_end >= 0 and not self._registered:
            poll.register(self._write_end, select.POLLOUT)
            self._registered = True
            self._poll: Any = poll

    def serve(self, fd: int, event: int) -> None:
        """Feed the pipe."""
        if fd == self._write_end:
            self._feed()

    def waiting(self) -> int:
        """Nothing of it waits once the program has ended."""
        return -1

    def signalled(self, number: int) -> None:
        """No signal concerns it."""

    def _feed(self) -> None:
        try:
            while True:
                if not self._pending:
                    self._pending = os.read(self._source, _CHUNK)
                    if not self._pending:
                        break
                self._pending = self._pending[os.write(self._write_end, self._pending) :]
        except BlockingIOError:
            return
        except OSError:
            pass
        self._stop_feeding()

    def _stop_feeding(self) -> None:
        if self._registered:
            self._poll.unregister(self._write_end)
        os.close(self._write_end)
        self._write_end = -1

    def close(self) -> None:
        """Give back what nobody read: the caller shares the file's offset with us."""
        answer = fcntl.ioctl(self._read_end, _FIONREAD, struct.pack("i", 0))
        unread = struct.unpack("i", answer)[0] + len(self._pending)
        if unread:
            os.lseek(self._source, -unread, os.SEEK_CUR)
        os.close(self._read_end)
        if self._write_end >= 0:
            os.close(self._write_end)

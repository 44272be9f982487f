"""``-t``: a terminal of its own for the program, joined with the caller's."""

from __future__ import annotations

import fcntl
import os
import select
import termios
import tty

from cwl_userspace.engines.base import Launch

_CHUNK = 1 << 16


class Terminal:
    """A pseudo-terminal. Where the caller has a terminal, it is raw until the program ends."""

    def __init__(self, launch: Launch) -> None:
        self._master, self._slave = os.openpty()
        name = os.ttyname(self._slave)
        for operation in launch.inside:
            if operation[0] == "devices":
                operation[3] = name
        self._saved: list[object] | None = None
        self._input_open = True
        self._registered = False
        self.resize()

    def become_standard_streams(self) -> None:
        """In the child: the slave side is standard input, output and error."""
        for fd in (0, 1, 2):
            os.dup2(self._slave, fd)
        os.close(self._slave)
        os.close(self._master)

    def forked(self) -> None:
        """In the parent: keep the master side, and let the caller's keys through as they are."""
        os.close(self._slave)
        if os.isatty(0):
            self._saved = termios.tcgetattr(0)
            tty.setraw(0)

    def resize(self) -> None:
        """Give the program's terminal the size of the caller's."""
        try:
            size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
        except OSError:
            pass

    def register(self, poll: select.poll) -> None:
        """Have ``serve`` called when either side has something."""
        if not self._registered:
            poll.register(self._master, select.POLLIN)
            poll.register(0, select.POLLIN)
            self._registered = True
            self._poll = poll

    def serve(self, fd: int, event: int) -> None:
        """Copy what is there, in either direction."""
        if fd == self._master:
            self._copy_output()
        elif fd == 0 and self._input_open:
            data = _read(0)
            if data:
                _write(self._master, data)
            else:
                _write(self._master, b"\x04")
                self._input_open = False
                self._poll.unregister(0)

    def _copy_output(self) -> bool:
        data = _read(self._master)
        if data:
            _write(1, data)
        elif self._registered:
            self._poll.unregister(self._master)
            self._registered = False
            self.register = lambda poll: None  # type: ignore[method-assign]
        return bool(data)

    def close(self) -> None:
        """Print what is left, and give the caller's terminal back as it was."""
        os.set_blocking(self._master, False)
        while self._copy_output():
            pass
        os.close(self._master)
        if self._saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except OSError:
        return b""


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]

"""``-t``: a terminal of its own for the program, joined with the caller's."""

from __future__ import annotations

import fcntl
import os
import select
import stat
import struct
import termios
import tty

from cwl_userspace.engines.base import Launch
from cwl_userspace.kernel import signals

_CHUNK = 1 << 16
# As much as a pipe that can be written takes without making the writer wait (pipe(7)).
_PIPE_BUF = 4096
_END_OF_FILE = b"\x04"
# The device that makes pseudo-terminals, and ioctl_tty(2): unlock the other side; open it (4.13).
_PTMX = os.makedev(5, 2)
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441


class Terminal:
    """A pseudo-terminal. Where the caller has a terminal, it is raw until the program ends.

    Neither side ever waits for the other: what cannot be passed on at once is kept, and no more
    is read meanwhile.
    """

    def __init__(self, launch: Launch) -> None:
        self._master, self._slave = _sides(launch)
        for operation in launch.inside:
            if operation[0] == "devices":
                operation[3] = os.ttyname(self._slave)
        self._caller = 0
        self._saved = termios.tcgetattr(0) if os.isatty(0) else None
        self._raw = False
        self._input_open = True
        self._input = self._output = b""
        self._at_line_start = True
        self._masks: dict[int, int] = {}
        self._out = _writer()
        self.resize()

    def become_standard_streams(self) -> None:
        """In the child: the slave side is standard input, output and error."""
        if self._saved is not None:
            self._caller = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 10)
        for fd in (0, 1, 2):
            os.dup2(self._slave, fd)
        os.close(self._slave)
        os.close(self._master)

    def forked(self) -> None:
        """In the parent: let the caller's keys through as they are.

        The slave side stays open here, so that a program may close it and open it again.
        """
        os.set_blocking(self._master, False)
        self._raw = self._saved is not None
        self._set_raw()

    def restore(self) -> None:
        """Give the caller's terminal back as it was; also in the child, if the parent cannot."""
        if self._saved is not None:
            try:
                termios.tcsetattr(self._caller, termios.TCSANOW, self._saved)
            except (OSError, termios.error):
                pass

    def signalled(self, number: int) -> None:
        """The caller's terminal has another size, or we go on after a stop."""
        if number == signals.SIGWINCH:
            self.resize()
        elif number == signals.SIGCONT:
            # The shell that we were stopped by has set its own modes.
            self._set_raw()
            self.resize()

    def resize(self) -> None:
        """Give the program's terminal the size of the caller's."""
        try:
            size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
        except OSError:
            pass

    def register(self, poll: select.poll) -> None:
        """Have ``serve`` called when either side has something, or can take what is kept."""
        wanted = {
            self._master: (0 if self._output else select.POLLIN)
            | (select.POLLOUT if self._input else 0),
            0: select.POLLIN if self._input_open and not self._input else 0,
            self._out: select.POLLOUT if self._output else 0,
        }
        for fd, mask in wanted.items():
            if self._masks.get(fd, 0) == mask:
                continue
            if mask:
                poll.register(fd, mask)
            else:
                poll.unregister(fd)
            self._masks[fd] = mask

    def serve(self, fd: int, event: int) -> None:
        """Copy what is there, in either direction; raise OSError if it cannot be printed."""
        if fd == self._master:
            if event & select.POLLOUT:
                self._type()
            if event & ~select.POLLOUT:
                self._output += _read(self._master)
        elif fd == 0:
            self._read_keys()
        elif fd == self._out:
            self._print()

    def waiting(self) -> int:
        """What waits to be printed: the descriptor for it, or -1 if there is nothing."""
        self._output = self._output or _read(self._master)
        return self._out if self._output else -1

    def close(self) -> None:
        """Give the caller's terminal back as it was."""
        os.close(self._master)
        os.close(self._slave)
        if self._out != 1:
            os.close(self._out)
        if self._raw:
            self.restore()

    def _set_raw(self) -> None:
        if self._raw:
            tty.setraw(0, termios.TCSANOW)

    def _read_keys(self) -> None:
        self._input = _read(0)
        if self._input:
            self._at_line_start = self._input.endswith(b"\n")
        else:
            self._input_open = False
            # The first ends a line that has begun; that of an empty line is the end (termios(3)).
            self._input = _END_OF_FILE if self._at_line_start else 2 * _END_OF_FILE
        self._type()

    def _type(self) -> None:
        try:
            self._input = self._input[os.write(self._master, self._input) :]
        except BlockingIOError:
            pass
        except OSError:
            self._input = b""

    def _print(self) -> None:
        try:
            self._output = self._output[os.write(self._out, self._output[:_PIPE_BUF]) :]
        except BlockingIOError:
            pass
        except OSError:
            self._output = b""
            raise


def _sides(launch: Launch) -> tuple[int, int]:
    """A pseudo-terminal; one of the container that is joined, if it makes any, for only those have
    names there.
    """
    for word, *arguments in launch.before:
        if word == "join":
            try:
                return _made_by(f"/proc/{arguments[0]}/root/dev/ptmx")
            except OSError:
                break
    return os.openpty()


def _made_by(path: str) -> tuple[int, int]:
    """Raise OSError if the file there does not make pseudo-terminals; no other is opened."""
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        what = os.fstat(place)
        if not stat.S_ISCHR(what.st_mode) or what.st_rdev != _PTMX:
            raise OSError(f"{path} makes no terminals")
        flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
        master = os.open(f"/proc/self/fd/{place}", flags)
    finally:
        os.close(place)
    try:
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        return master, fcntl.ioctl(master, _TIOCGPTPEER, flags)
    except OSError:
        os.close(master)
        raise


def _writer() -> int:
    """Standard output; a terminal opened again, so that a write to it need never wait.

    The caller shares the modes of the one that we were given.
    """
    if not os.isatty(1):
        return 1
    try:
        return os.open("/proc/self/fd/1", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return 1


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except OSError:
        return b""

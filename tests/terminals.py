"""A person at a terminal: types, reads what is shown, and looks at the terminal's modes."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from typing import Any

from tests.containers import Box, Word

# A new session whose terminal is standard input, as a login has it.
_LOGIN = (
    "import os,sys,fcntl,termios;os.setsid();fcntl.ioctl(0,termios.TIOCSCTTY,0);"
    "os.execv(sys.argv[1],sys.argv[1:])"
)


class Person:
    """Runs a command at a terminal of its own."""

    def __init__(self, box: Box, *words: Word, shell: str = "") -> None:
        """``shell`` is a script for the caller's shell, with the command as its arguments."""
        self._keyboard, self._terminal = pty.openpty()
        self.modes_before = self.modes
        command = [os.fsdecode(word) for word in box.home.command(*box.words(*words))]
        if shell:
            command = ["/bin/bash", "--norc", "--noprofile", "-ic", shell, "bash", *command]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LOGIN, *command],
            env={**box.home.environment, "PS1": "", "HISTFILE": ""},
            stdin=self._terminal,
            stdout=self._terminal,
            stderr=self._terminal,
        )
        self.shown = b""

    def type(self, keys: str) -> None:
        os.write(self._keyboard, keys.encode())

    def sees(self, text: str, patience: float = 30.0) -> bool:
        """True as soon as a text is shown that has not been seen before."""
        end = time.monotonic() + patience
        while text.encode() not in self.shown:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._keyboard], [], [], left)[0]:
                return False
            try:
                self.shown += os.read(self._keyboard, 4096)
            except OSError:
                return False
        self.shown = self.shown.partition(text.encode())[2]
        return True

    def resize(self, rows: int, columns: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._keyboard, termios.TIOCSWINSZ, size)

    @property
    def modes(self) -> list[Any]:
        """The modes of the terminal (termios(3))."""
        return termios.tcgetattr(self._terminal)

    def wait(self, patience: float = 30.0) -> int:
        """The exit code of what was run; the terminal must be as it was."""
        end = time.monotonic() + patience
        while self.process.poll() is None and time.monotonic() < end:
            self.sees("\0never shown", 0.05)
        if self.process.poll() is None:
            self.process.kill()
        code = self.process.wait()
        assert self.modes == self.modes_before
        return code

    def hang_up(self) -> None:
        """Close the terminal, as when a connection breaks; the command ends by that."""
        os.close(self._keyboard)
        self._keyboard = -1
        self.process.wait(30)

    def leave(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._keyboard >= 0:
            os.close(self._keyboard)
        os.close(self._terminal)

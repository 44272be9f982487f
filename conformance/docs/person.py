"""A person at a terminal, who starts a program, waits for what it asks, and types an answer.

usage: python person.py ASKED ANSWER PROGRAM [WORD...]

ASKED is a pattern. The exit code is the program's, or 1 if it has ended and never asked.
"""

from __future__ import annotations

import os
import pty
import re
import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Do that once; what the program prints is printed."""
    asked, answer, *command = argv
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    seen, typed = "", False
    while said := _read(terminal):
        sys.stdout.write(said)
        seen += said
        if not typed and re.search(asked, seen):
            os.write(terminal, f"{answer}\n".encode())
            typed = True
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if typed else code or 1


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 4096).decode(errors="replace")
    except OSError:  # the last who had it open is gone
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Write an archive to a file, whole or not at all, or to standard output."""

from __future__ import annotations

import os
from collections.abc import Callable

from cwl_userspace.errors import UsageError

Write = Callable[[bytes], object]


def write_archive(verb: str, output: str, produce: Callable[[Write], None]) -> None:
    """Have ``produce`` write to the file ``output``, or to standard output if that is empty.

    Raise UsageError rather than write to a terminal.
    """
    if not output:
        if os.isatty(1):
            raise UsageError(
                f"{verb} would write to a terminal", "name a file with -o, or use a pipe"
            )
        produce(lambda data: _write(1, data))
        return
    aside = f"{output}.{os.getpid()}.part"
    try:
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            produce(lambda data: _write(fd, data))
        finally:
            os.close(fd)
        os.replace(aside, output)
    except BaseException:
        if os.path.lexists(aside):
            os.unlink(aside)
        raise


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]

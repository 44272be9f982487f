"""Write a file or a directory whole or not at all, or an archive to standard output."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator

from cwl_userspace.errors import UsageError
from cwl_userspace.image.confine import remove_tree

Write = Callable[[bytes], object]


def write_archive(verb: str, output: str, produce: Callable[[Write], object]) -> None:
    """Have ``produce`` write to the file ``output``, or to standard output if that is empty.

    A device or a pipe is written as it is, ``/dev/stdout`` say; a file is replaced, where a link
    leads. Raise UsageError for a file that cannot be made, and rather than write to a terminal.
    """
    if not output:
        if os.isatty(1):
            raise UsageError(
                f"{verb} would write to a terminal", "name a file with -o, or use a pipe"
            )
        produce(lambda data: _write(1, data))
        return
    if _is_stream(output):
        _fill(output, output, os.O_WRONLY, produce)
        return
    with aside_of(os.path.realpath(output)) as aside:
        _fill(aside, output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, produce)


def _is_stream(output: str) -> bool:
    """True for a device or a pipe, which nothing may be put in the place of."""
    try:
        mode = os.stat(output).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _fill(path: str, output: str, flags: int, produce: Callable[[Write], object]) -> None:
    """Have ``produce`` write to the file at a path, which errors call ``output``."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UsageError(
            f"the file {output!r} cannot be written: {error.strerror}", "name another"
        ) from None
    try:
        produce(lambda data: _write(fd, data, output))
    finally:
        os.close(fd)


@contextlib.contextmanager
def aside_of(target: str) -> Iterator[str]:
    """A name beside a target for a file or directory, which takes its place if all goes well."""
    target = target.rstrip("/") or target
    aside = f"{target}.{os.getpid()}.part"
    try:
        yield aside
        if os.path.isdir(target) and not os.path.islink(target) and os.path.isdir(aside):
            old = f"{target}.{os.getpid()}.old"
            os.rename(target, old)
            os.rename(aside, target)
            remove_tree(old)
        else:
            os.replace(aside, target)
    except BaseException:
        remove_tree(aside)
        raise


def _write(fd: int, data: bytes, name: str | None = None) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except OSError as error:
            error.filename = name  # the descriptor knows none
            raise

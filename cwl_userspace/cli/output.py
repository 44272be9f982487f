"""Write a file or a directory whole or not at all, or an archive to standard output."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from cwl_userspace.errors import UsageError
from cwl_userspace.image.confine import remove_tree

Write = Callable[[bytes], object]


def write_archive(verb: str, output: str, produce: Callable[[Write], object]) -> None:
    """Have ``produce`` write to the file ``output``, or to standard output if that is empty.

    Raise UsageError for a file that cannot be made, and rather than write to a terminal.
    """
    if not output:
        if os.isatty(1):
            raise UsageError(
                f"{verb} would write to a terminal", "name a file with -o, or use a pipe"
            )
        produce(lambda data: _write(1, data))
        return
    with aside_of(output) as aside:
        try:
            fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
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

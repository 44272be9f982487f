"""The TMPDIR of a cell, which tests leave full of things, some of them hard to remove."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from conformance.problem import Problem


@contextlib.contextmanager
def scratch_of(folder: Path) -> Iterator[Path]:
    """A TMPDIR for the cell: the outputs of every test are left in it. One run of it at a time.

    Its name follows from the cell's, so that what a killed run has left is removed by the next.
    """
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    scratch = Path(tempfile.gettempdir(), f"conformance-{os.getuid()}-{name}")
    with open(folder / ".lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Problem(
                f"'{folder}' is in use by another run", "give this one another --output"
            ) from error
        _remove(scratch)
        scratch.mkdir(mode=0o700)
        try:
            yield scratch
        finally:
            _remove(scratch)


def _remove(scratch: Path) -> None:
    # Some tests leave directories that not even their owner may write to.
    for parent, names, _ in os.walk(scratch):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(scratch, ignore_errors=True)

"""Run a function in a forked child, for what a process can do to itself only once."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cwl_userspace.kernel import syscalls

Result = TypeVar("Result")

NOBODY = 65534


def reachable(path: Path) -> Path:
    """*path*, pytest's temporary directory, with a way in for nobody, who may write there."""
    for parent in path.parents:
        if parent.stat().st_uid == os.geteuid() and "/pytest-of-" in str(parent):
            parent.chmod(0o711)
    path.chmod(0o777)
    return path


def in_child(function: Callable[[], Result], *, plain_user: bool = False) -> Result:
    """What *function* returns or raises in a child of this process, as nobody if asked."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            if plain_user and os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                # after setuid, /proc/self belongs to root until this is said
                syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
            answer = pickle.dumps((True, function()))
        except BaseException as error:
            answer = pickle.dumps((False, error))
        with os.fdopen(writer, "wb") as stream:
            stream.write(answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0 and answer, f"the child ended with wait status {status}"
    good, value = pickle.loads(answer)
    if not good:
        raise value
    result: Result = value
    return result

"""Copy and remove trees as the root of a user namespace, whom no mode of our own files keeps out.

A distribution's /etc/shadow may have the mode 0000: its owner could not copy it, and to change its
mode for that while would change the stored image.
"""

from __future__ import annotations

import json
import os

from cwl_userspace import nsidentity, subids
from cwl_userspace.image import confine
from cwl_userspace.kernel import signals
from cwl_userspace.kernel import syscalls as sys_
from cwl_userspace.store import copy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NO_NAMESPACE = "no namespace"


def copy_tree(source: str, target: str) -> list[str]:
    """What ``store.copy.copy_tree`` does; without user namespaces with no more than our rights."""
    return with_all_rights(lambda: copy.copy_tree(source, target))


def with_all_rights(work: Callable[[], list[str]]) -> list[str]:
    """Do something with our files as a root to whom their modes mean nothing, if there is one."""
    if os.geteuid() != 0:
        done = _as_root(work)
        if done is not None:
            return done
    return work()


def reading(work: Callable[[], list[str]]) -> list[str]:
    """What ``work`` gives, which reads a tree; without user namespaces with our own rights alone.

    It may be done in a child, so it changes nothing of this process.
    """
    found = None if os.geteuid() == 0 else _as_root(work)
    return work() if found is None else found


def remove_tree(path: str) -> None:
    """What ``image.confine.remove_tree`` does, also where files have owners from our subuids."""
    try:
        _remove(path)
    except PermissionError:
        if os.geteuid() == 0 or _as_root(lambda: _remove(path), all_ids=True) is None:
            raise


def _remove(path: str) -> list[str]:
    confine.remove_tree(path)
    return []


def _as_root(work: Callable[[], list[str]], all_ids: bool = False) -> list[str] | None:
    """Do something in a child that is root in a user namespace; None where there is none.

    With ``all_ids`` it has the user's subordinate ids there too, if any: over files of theirs
    only such a root has rights. Raise the OSError that the work raised. The child does not
    outlive this process.
    """
    result_in, result_out = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            os.close(result_in)
            os.write(result_out, json.dumps(_attempt(work, parent, all_ids)).encode())
        finally:
            os._exit(0)
    os.close(result_out)
    with open(result_in, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        raise OSError(0, "the process that works on the tree was killed")
    what, value = json.loads(answer)
    if what == "failed":
        raise OSError(*value)
    return value if what == "done" else None


def _attempt(work: Callable[[], list[str]], parent: int, all_ids: bool) -> tuple[str, object]:
    found = subids.mappable() if all_ids else None
    try:
        if found is None or found["reason"]:
            nsidentity.user_namespace(0, 0, 0)
        else:
            nsidentity.mapped_user_namespace(found["uids"], found["gids"], found["programs"], 0)
    except OSError:
        return _NO_NAMESPACE, []
    # New rights may take this back, so it is asked for after them (commit_creds in kernel/cred.c).
    sys_.set_pdeathsig(signals.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    try:
        return "done", work()
    except OSError as error:
        return "failed", (error.errno, error.strerror, error.filename)

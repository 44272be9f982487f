"""The process that has the disk take a tree, which outlives the one that has started it.

It has the file system write all of it (syncfs(2)) and then removes the tree's mark, which names it.
"""

from __future__ import annotations

import fcntl
import os
import sys

from cwl_userspace.store.owner import Owner
from cwl_userspace.store.phases import SYNC, phase
from cwl_userspace.store.store import MARK

# The descriptor of the tree's directory in the process that syncs it.
_PLACE = 3
# A mark that is to take the place of another.
_NEW = f"{MARK}.new"
# What a mark says where the file system could not write all.
_FAILED = "failed"
# How often, and after how many seconds, to look whether the mark names its process.
_TRIES, _PAUSE = 1000, 0.005
# The processes started here that sync trees.
_children: list[int] = []
# A Python that needs nothing but its own library and this package, wherever it was started.
_PROGRAM = """
import sys
sys.path.append(sys.argv[1])
from cwl_userspace.store.syncing import main
main(sys.argv[2])
"""


def start(directory: str) -> None:
    """Start the process that syncs the tree in a directory; only where none can be it is done now.

    Where there is no descriptor for it, that is left to the next who looks.
    """
    fds: list[int] = []
    try:
        fds.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        # Above the one that it is to have: a descriptor that becomes itself may be closed.
        fds.append(fcntl.fcntl(fds[0], fcntl.F_DUPFD_CLOEXEC, _PLACE + 1))
        if not _started(directory, fds[1]):
            settle(fds[1], directory)
    except OSError:
        pass
    finally:
        for fd in fds:
            os.close(fd)


def _started(directory: str, place: int) -> bool:
    """Execute ``main``, and have the mark name it; nobody waits for it to end."""
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, place, _PLACE),
    ]
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    words = [sys.executable or "", "-I", "-S", "-c", _PROGRAM, package, directory]
    _forget_the_ended()
    try:
        pid = os.posix_spawn(words[0], words, os.environ, file_actions=streams, setsid=True)
    except (OSError, NotImplementedError):
        return False
    _children.append(pid)
    # Written here, since a Python takes as long to start as many a small image to be fetched.
    _rewrite(place, str(Owner.of(pid)))
    return True


def _forget_the_ended() -> None:
    """Let go of those started before, which a process that goes on for long has to do."""
    for pid in list(_children):
        try:
            ended = os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:  # somebody waited for all children, or this is a fork
            ended = True
        if ended:
            _children.remove(pid)


def main(directory: str) -> None:
    """What is executed; it keeps nothing open of the caller's but the directory."""
    os.closerange(_PLACE + 1, 1 << 16)
    os.chdir("/")
    with phase(SYNC):
        _await_mark()
        settle(_PLACE, directory)


def _await_mark() -> None:
    """Wait until the mark names this process: one that is written after we have removed it would
    stay until the next who looks. Who should have written it may have been killed.
    """
    import time

    me = str(Owner.me())
    for _ in range(_TRIES):
        try:
            if os.readlink(MARK, dir_fd=_PLACE) == me:
                return
        except OSError:  # nobody needs us any more
            return
        time.sleep(_PAUSE)
    _rewrite(_PLACE, me)


def settle(place: int, directory: str) -> None:
    """Sync what is in a tree's directory, open as ``place``, and remove its mark.

    A mark says from then on if that failed. ``directory`` is the path, for messages.
    """
    from cwl_userspace.kernel.syscalls import sync_filesystem_of
    from cwl_userspace.store.heart import beating

    try:
        with beating(lambda: os.utime(MARK, dir_fd=place, follow_symlinks=False)):
            sync_filesystem_of(place, directory)
            for name in (_NEW, MARK):
                _remove(name, place)
    except OSError:
        _rewrite(place, _FAILED)


def _rewrite(place: int, said: str) -> None:
    """Have a mark say something else; nothing is done where it cannot be written."""
    try:
        _remove(_NEW, place)
        os.symlink(said, _NEW, dir_fd=place)
        os.replace(_NEW, MARK, src_dir_fd=place, dst_dir_fd=place)
    except OSError:
        pass


def _remove(name: str, place: int) -> None:
    try:
        os.unlink(name, dir_fd=place)
    except FileNotFoundError:  # another process did it, too
        pass

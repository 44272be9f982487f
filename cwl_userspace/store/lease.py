"""A lease: one process does some work, and others that want the same wait for it while it lives.

A lease is a file that names its holder, who touches it every few seconds. No lock of the file
system is asked for: on some they hold on one node only, or not at all. A holder that can be seen
from here is looked for itself; of any other the signs of life count, so nobody waits for a dead one
for longer than a few of them. It saves double work and no more: what is built is private until
one rename publishes it, so two holders at once harm nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator

from cwl_userspace.store.heart import BEAT, beating, last_sign
from cwl_userspace.store.owner import Owner, private_name
from cwl_userspace.store.store import LEASES, Store

# So many signs may be missing; more of one who is here, but stopped, or waits for its disk.
_MISSED = 5
_MISSED_HERE = 20
_SLOWEST_BEAT = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_LARGEST = 1024

Identity = tuple[int, bytes]


@contextlib.contextmanager
def lease(store: Store, name: str, patience: float = 3600.0, beat: float = BEAT) -> Iterator[bool]:
    """Hold a lease while the block runs; True is given, also where there can be none.

    ``patience`` is how long to wait for another holder that is alive, in seconds; False is given
    if that one still has it. ``beat`` is the time between signs of life.
    """
    try:
        candidate = _Candidate(os.path.join(store.path, LEASES), name, beat)
    except OSError:  # nothing can be written here, or no more: the work itself will say so
        yield True
        return
    try:
        if not candidate.wait(patience):
            yield False
            return
        with beating(candidate.touch, beat):
            yield True
    finally:
        candidate.close()


class _Candidate:
    """One who wants a lease: his file is linked to its name, which only one can have."""

    def __init__(self, directory: str, name: str, beat: float) -> None:
        self._path = os.path.join(directory, name)
        self._own = private_name()
        self._content = f"{beat} {self._own}\n".encode()
        self._aside = os.path.join(directory, f".{self._own}")
        self._fd = _write_new(self._aside, self._content)

    def wait(self, patience: float) -> bool:
        """Take the lease; False if the time is over and another who is alive still has it."""
        deadline = time.monotonic() + patience
        pause = _FIRST_PAUSE
        while not self._take():
            dead = self._dead_holder()
            if dead is not None:
                self._bury(dead)
                continue
            if time.monotonic() >= deadline:
                return False
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        with contextlib.suppress(OSError):
            os.unlink(self._aside)
        return True

    def touch(self) -> None:
        """Give a sign of life."""
        os.utime(self._fd)

    def close(self) -> None:
        """Give the lease back, if it is still ours."""
        with contextlib.suppress(OSError):
            os.unlink(self._aside)
        with contextlib.suppress(OSError):
            held = _identity(self._path)
            if held is not None and held[1] == self._content:
                os.unlink(self._path)
        os.close(self._fd)

    def _take(self) -> bool:
        try:
            os.link(self._aside, self._path)
            return True
        except FileExistsError:
            # Over NFS the answer to a call that succeeded may be lost, and it is asked again.
            return os.fstat(self._fd).st_nlink > 1
        except OSError:
            return self._take_without_links()

    def _take_without_links(self) -> bool:
        """Some file systems know no hard links. A lease that is still empty names nobody."""
        try:
            fd = _write_new(self._path, self._content)
        except FileExistsError:
            return False
        except OSError:
            return True
        os.close(self._fd)
        self._fd = fd
        return True

    def _dead_holder(self) -> Identity | None:
        """The lease as it is if its holder is dead; None if he is alive, or has given it back."""
        held = _identity(self._path)
        if held is None:
            return None
        beat, _, private = held[1].decode("utf-8", "replace").strip().partition(" ")
        owner = Owner.parse(private.partition(".")[2])
        dead = owner.is_dead() if owner is not None else None
        if dead:
            return held
        missed = _MISSED if dead is None else _MISSED_HERE
        try:
            period = min(float(beat), _SLOWEST_BEAT)
        except ValueError:
            period = BEAT
        self.touch()
        silent = os.fstat(self._fd).st_mtime - _last_sign(self._path)
        return held if silent > missed * period else None

    def _bury(self, dead: Identity) -> None:
        """Take a dead holder's lease away, once: of several who try, one has renamed it."""
        grave = f"{self._aside}.dead"
        try:
            os.rename(self._path, grave)
            if _identity(grave) != dead:  # that was the next one's: who was first has a new lease
                with contextlib.suppress(OSError):
                    os.link(grave, self._path)
            os.unlink(grave)
        except OSError:
            return


def _last_sign(path: str) -> float:
    try:
        return last_sign(path)
    except FileNotFoundError:
        return float("inf")


def _identity(path: str) -> Identity | None:
    """Which lease a file is; None if there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.fstat(fd).st_ino, os.read(fd, _LARGEST)
    finally:
        os.close(fd)


def _write_new(path: str, content: bytes) -> int:
    """A new file with its content; the descriptor stays open."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        # Others of its group want to know whose it is, whatever our umask.
        os.fchmod(fd, os.fstat(fd).st_mode & 0o7777 | 0o040)
        if os.write(fd, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    except BaseException:
        os.close(fd)
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    return fd

"""The keeper's side of the mode guard: what a container must leave as it is."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import time

from cwl_userspace.kernel import modeguard, syscalls
from cwl_userspace.kernel.modecalls import Call
from cwl_userspace.lineage import parent_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

# How long the container's locator may take for a path, in seconds.
_PATIENCE = 10.0
_ABOVE_ALL = 10
_DIRECTORY_SIZE = 64
_NUMBER = "=q"


class Guard:
    """Keeps the modes, owners and times of places on the host; see kernel.modeguard.

    ``locator`` is empty where the engine's program sees the calls first and has translated their
    paths; otherwise it says by ``forgive`` whether root is emulated, and the container's locator
    is to have the socket that is ``inherited``.
    """

    __slots__ = (
        "_child",
        "_forgive",
        "_from_child",
        "_from_keeper",
        "_locator",
        "_lost",
        "_ours",
        "_patience",
        "_process",
        "_protected",
        "_to_child",
        "_to_keeper",
        "_waiting",
        "inherited",
        "listener",
    )

    def __init__(
        self,
        protected: Sequence[str],
        locator: Mapping[str, Any] | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        self._protected = tuple(protected)
        self._patience = patience
        self._lost = False
        self._from_child, self._to_keeper = _pipe()
        self._from_keeper, self._to_child = _pipe()
        self._locator = bool(locator)
        self._forgive = bool(locator and locator["forgive"])
        self._ours = self._process = -1
        self.inherited: list[int] = []
        if self._locator:
            self._ours, theirs = _socket_pair()
            self.inherited.append(theirs)
        self._child = 0
        self._waiting: list[modeguard.Notification] = []
        self.listener = -1

    def install(self) -> None:
        """In the child: go under the filter, and wait until the keeper answers for it."""
        descriptor = modeguard.install()
        os.write(self._to_keeper, str(descriptor).encode())
        os.close(self._to_child)
        os.read(self._from_keeper, 1)

    def adopt(self, child: int) -> None:
        """In the keeper: take the filter's descriptor over, and let the child go on."""
        self._child = child
        os.close(self._to_keeper)
        try:
            said = os.read(self._from_child, 16)
            if said:
                self.listener = modeguard.adopt(child, int(said))
        finally:
            os.close(self._to_child)

    def answer(self) -> None:
        """Serve the calls that the filter has stopped."""
        self._receive()
        while self._waiting:
            waiting = self._waiting.pop(0)
            find = self._locate if self._locator else modeguard.find_translated
            modeguard.settle(waiting, self._protected, find, self._forgive)

    def _receive(self) -> None:
        """Take the next call; one of the engine's own program, which traces, is settled at once.

        It may be in the way of what the locator is asked for.
        """
        waiting = modeguard.receive(self.listener)
        if waiting is None:
            return
        if waiting.call.pid == self._child:
            modeguard.settle(waiting, self._protected, modeguard.find_translated)
        else:
            self._waiting.append(waiting)

    def _locate(self, call: Call) -> int:
        """What a call is aimed at, by the eyes of the container."""
        path = call.path()
        of_cwd = call.directory == syscalls.AT_FDCWD
        if not path and not of_cwd:
            return modeguard.held(call.pid, call.directory)
        place = f"/proc/{call.pid}/" + ("cwd" if of_cwd else f"fd/{call.directory}")
        if path.startswith(b"/"):
            place = "/"
        how = os.O_PATH | os.O_CLOEXEC | (0 if call.follows else os.O_NOFOLLOW)
        request = struct.pack(f"{_NUMBER}{_DIRECTORY_SIZE}s", how, place.encode())
        if self._process < 0:
            self._process = self._meet()
        if self._lost:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.write(self._ours, request + (modeguard.own_path(path, call.pid) or b".") + b"\0")
        (number,) = struct.unpack(_NUMBER, self._said())
        try:
            if number < 0:
                raise OSError(-number, os.strerror(-number))
            return syscalls.pidfd_getfd(self._process, number)
        finally:
            os.write(self._ours, b"x")

    def _meet(self) -> int:
        """The locator's process: the first word on the socket was said before any program ran."""
        (pid,) = struct.unpack(_NUMBER, self._said())
        process = syscalls.pidfd_open(pid)
        # It may have been killed, and its number be that of somebody else since.
        above = pid
        while above != os.getpid():
            above = parent_of(above)
            if not above:
                os.close(process)
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return process

    def _said(self) -> bytes:
        """The locator's next word; OSError where it is gone or says nothing for long.

        It is not asked again then: its word would come for another question than it was asked. The
        time is one for all the calls that come meanwhile, of which a container can make any number.
        """
        poll = select.poll()
        for descriptor in (self._ours, self.listener, self._process):
            if descriptor >= 0:
                poll.register(descriptor, select.POLLIN)
        deadline = time.monotonic() + self._patience
        while not self._lost:
            left = max(0.0, deadline - time.monotonic())
            ready = [descriptor for descriptor, _ in poll.poll(left * 1000)]
            if self._ours in ready:
                word = os.read(self._ours, 64)
                if len(word) == struct.calcsize(_NUMBER):
                    return word
            if left and ready == [self.listener]:
                self._receive()
            else:
                self._lost = True
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are in nobody's way: a child has its own use for the low numbers."""
    return _moved(*os.pipe())


def _socket_pair() -> tuple[int, int]:
    """Two connected sockets that keep packets apart."""
    from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair

    one, other = socketpair(AF_UNIX, SOCK_SEQPACKET)
    return _moved(one.detach(), other.detach())


def _moved(*descriptors: int) -> tuple[int, int]:
    first, second = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_ALL) for fd in descriptors)
    for fd in descriptors:
        os.close(fd)
    return first, second

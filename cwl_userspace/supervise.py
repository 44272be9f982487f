"""The supervisor's wait for the end of a container: it serves, hands on, limits, and ends it."""

from __future__ import annotations

import os
import select
import time

from cwl_userspace import keeper
from cwl_userspace.kernel import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from cwl_userspace.engines.base import Launch
    from cwl_userspace.limits import Limiter
    from cwl_userspace.memory import Peak
    from cwl_userspace.store.inuse import Use

    class Service(Protocol):
        """Something that copies bytes to or from the program."""

        def register(self, poll: select.poll) -> None:
            """Say which descriptors to wait for."""

        def serve(self, fd: int, event: int) -> None:
            """Do what can be done for one of them; raise OSError if it cannot be printed."""

        def signalled(self, number: int) -> None:
            """Heed a signal to the supervisor."""

        def waiting(self) -> int:
            """What can be served after the program's end: a descriptor to write to, or -1."""


# How long a program may take to end after a signal that asks it to, in seconds, where nobody says
# (--stop-timeout): Docker's default.
GRACE = 10.0
_PARENT_CHECK = 0.5
# poll(2) can wait no longer than this, in seconds, and may be told to go on waiting.
_LONGEST = 1e6
# How long a keeper may take to end a container without name spaces, in seconds. The container's
# processes are its user's, as it is itself, and so may have stopped it or keep it busy.
_KEEPER = 5.0
# How long nobody may read the rest of the output of a program that was asked to end, in seconds.
_READER = 1.0


class Vigil:
    """One wait. Afterwards: ``asked``, the first signal that asked the program to end, or 0;
    ``forced``, true if somebody has ended the container at once; ``orphans``, true if the keeper
    was killed; ``unwritable``, why the program's output could not be passed on; ``largest``, the
    memory in bytes of the largest process that was reaped. Before, ``memory`` may be set, which
    then looks at all of them, and ``use``, which gives signs of life; and ``started``, which is
    called when the pipe ``report`` closes with nothing in it.
    """

    def __init__(
        self,
        launch: Launch,
        pid: int,
        lifeline: int,
        services: Sequence[Service],
        limiter: Limiter | None,
        grace: float,
    ) -> None:
        """``pid`` is the keeper, which ends everything when ``lifeline`` is closed. After
        ``grace`` seconds a program that was asked to end is killed.
        """
        self._launch = launch
        self._pid = pid
        self._lifeline = lifeline
        self._services = services
        self._limiter = limiter
        self._grace = grace
        self._deadline = 0.0
        self._kill_keeper_at = 0.0
        self._reaped = False
        self._watched: list[_Watch] = []
        self.asked = 0
        self.forced = False
        self.orphans = False
        self.unwritable: OSError | None = None
        self.largest = 0
        self.memory: Peak | None = None
        self.use: Use | None = None
        self.report = -1
        self.started: Callable[[int], None] | None = None

    def wait(self, wakeup: int, caller: int, until: int) -> int:
        """Serve until the keeper has ended; return its exit code.

        Numbers of signals come on ``wakeup``. The end of our parent ``caller``, or of another
        process ``until``, unless these are 0, ends the container.
        """
        signals.unblock()
        poll = select.poll()
        poll.register(wakeup, select.POLLIN)
        self._watched = [_Watch(pid, pid == caller, poll) for pid in (caller, until) if pid]
        if self.started is not None:
            poll.register(self.report, select.POLLIN)
        while True:
            pid, status, used = os.wait4(self._pid, os.WNOHANG)
            if pid:
                self._reaped = True
                self.orphans = os.WIFSIGNALED(status)
                self.largest = used.ru_maxrss * 1024
                self._print_rest(wakeup)
                return keeper.exit_code(status)
            for service in self._services:
                service.register(poll)
            for fd, event in poll.poll(self._timeout()):
                if fd == wakeup:
                    self._signalled(os.read(fd, 64))
                elif fd == self.report:
                    poll.unregister(fd)
                    if not event & select.POLLIN:
                        self.tell_started()
                elif all(fd != w.fd for w in self._watched):
                    self._serve(fd, event)
            self._look()
            if any(w.gone() for w in self._watched) or _is_past(self._deadline):
                self._watch_no_more()
                self.end()
            if _is_past(self._kill_keeper_at):
                self._kill_keeper_at = 0.0
                self._send(signals.SIGKILL)

    def tell_started(self) -> None:
        """Say, once, that the program has been executed."""
        started, self.started = self.started, None
        if started is not None:
            started(self._pid)

    def end(self) -> None:
        """End the container now: the keeper kills everything when this pipe closes."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        self._deadline = 0.0
        if self._launch.joined:
            return
        if self._launch.namespaces:
            self._send(signals.SIGKILL)
        elif not self._kill_keeper_at:
            self._kill_keeper_at = time.monotonic() + _KEEPER

    def close(self) -> None:
        """Give back what is held; the container has ended."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
        self._watch_no_more()

    def _watch_no_more(self) -> None:
        for watch in self._watched:
            watch.close()
        self._watched = []

    def _print_rest(self, wakeup: int) -> None:
        """Have the output passed on that is left, unless nobody wants to wait for it."""
        poll = select.poll()
        poll.register(wakeup, select.POLLIN)
        for service in self._services:
            while (fd := service.waiting()) >= 0:
                poll.register(fd, select.POLLOUT)
                over = self.asked or (self._limiter is not None and self._limiter.reached)
                events = poll.poll(_READER * 1000 if over else None)
                for ready, event in events:
                    if ready == wakeup:
                        self._signalled(os.read(wakeup, 64))
                    else:
                        self._serve(ready, event)
                if not events:
                    return

    def _timeout(self) -> float | None:
        """Milliseconds until something must be looked at again; None for never."""
        waits = self._limiter.waits() if self._limiter is not None else []
        if self.memory is not None:
            waits.append(self.memory.wait())
        if self.use is not None:
            waits.append(self.use.wait())
        if any(watch.must_poll for watch in self._watched):
            waits.append(_PARENT_CHECK)
        for moment in filter(None, (self._deadline, self._kill_keeper_at)):
            waits.append(max(0.0, moment - time.monotonic()))
        return min(*waits, _LONGEST) * 1000 if waits else None

    def _serve(self, fd: int, event: int) -> None:
        try:
            for service in self._services:
                service.serve(fd, event)
        except OSError as error:
            # Nobody can have what the program prints, so it is as if its terminal were gone.
            if self.unwritable is None:
                self.unwritable = error
                self._forward(signals.SIGHUP)

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signals.KILL_NOW:
                self.forced = True
                self.end()
            elif number in signals.FORWARDED:
                for service in self._services:
                    service.signalled(number)
                self._forward(number)

    def _forward(self, number: int) -> None:
        if number in signals.ENDING:
            self.asked = self.asked or number
            self._deadline = self._deadline or time.monotonic() + self._grace
        self._send(number)

    def _send(self, number: int) -> None:
        """Signal the keeper, unless it has been reaped: its number may be another's by now."""
        if not self._reaped:
            os.kill(self._pid, number)

    def _look(self) -> None:
        """See whether a limit has been reached, and how much memory is in use."""
        if self.memory is not None:
            self.memory.look()
        if self.use is not None:
            self.use.look()
        reached = self._limiter.look() if self._limiter is not None else ""
        if reached == "time":
            self._forward(signals.SIGTERM)
        elif reached == "memory":
            self.end()


def _is_past(moment: float) -> bool:
    """True once a moment has come; 0 never does."""
    return bool(moment) and time.monotonic() >= moment


class _Watch:
    """Notices the end of a process; of our parent, which is not that of one of its threads."""

    def __init__(self, pid: int, is_parent: bool, poll: select.poll) -> None:
        self._pid = pid
        self._is_parent = is_parent
        self._poll = poll
        self.fd = -1
        try:
            self.fd = os.pidfd_open(pid)
            poll.register(self.fd, select.POLLIN)
        except (OSError, AttributeError):
            self.fd = -1
        # One that has ended before may have left its number to another.
        self.must_poll = self.fd < 0 or self.gone()

    def close(self) -> None:
        """Watch no more."""
        if self.fd >= 0:
            self._poll.unregister(self.fd)
            os.close(self.fd)

    def gone(self) -> bool:
        """True once it has ended; then, if it was our parent, somebody else is."""
        if self._is_parent:
            return os.getppid() != self._pid
        if self.fd >= 0:
            poll = select.poll()
            poll.register(self.fd, select.POLLIN)
            return bool(poll.poll(0))
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it is another user's, and alive
            pass
        return False

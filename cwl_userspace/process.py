"""Run a launch: the supervisor, the part of us that the caller sees and that outlives the tool.

Supervisor, keeper and program are three processes in a line. The supervisor gives standard input
to the program, hands signals on, watches the caller, and sees to it that the tree ends.
"""

from __future__ import annotations

import fcntl
import os
import select
import time

from cwl_userspace import keeper, nsinit, prepare
from cwl_userspace.errors import (
    CommandNotExecutable,
    CommandNotFound,
    EngineError,
    UserspaceError,
)
from cwl_userspace.image.confine import remove_tree
from cwl_userspace.kernel import signals
from cwl_userspace.kernel import syscalls as sys_
from cwl_userspace.stdin import Relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cwl_userspace.engines.base import Launch
    from cwl_userspace.guard import Guard
    from cwl_userspace.terminal import Terminal

# How long a program may take to end after a signal that asks it to, in seconds: Docker's default.
GRACE = 10.0
_PARENT_CHECK = 0.5


def run(launch: Launch, die_with_parent: bool, started: Callable[[], None] | None = None) -> int:
    """Run a launch to its end and return the program's exit code, 128 + n for a signal.

    Nothing of the container is alive afterwards. With ``die_with_parent`` the end of the calling
    process ends the container. ``started`` is called once the keeper runs. Raise CommandNotFound,
    CommandNotExecutable or EngineError if the program could not be started.
    """
    caller = os.getppid()
    supervisor = _Supervisor(launch)
    try:
        supervisor.start()
        if started is not None:
            started()
        code = supervisor.wait(caller if die_with_parent else 0)
        return supervisor.result(code)
    finally:
        supervisor.close()


class _Supervisor:
    """One container's pipes and processes."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._report_in, self._report_out = os.pipe()
        self._lifeline_in, self._lifeline_out = os.pipe()
        self._wakeup_in, self._wakeup_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._relay = Relay.for_standard_input() if not launch.terminal else None
        self._terminal: Terminal | None = None
        self._pid = 0
        self._asked = 0
        self._orphans = False
        self._deadline = 0.0

    def start(self) -> None:
        """Fork the keeper. Signals wait until both sides are ready for them."""
        if self._launch.terminal:
            from cwl_userspace.terminal import Terminal

            self._terminal = Terminal(self._launch)
        signals.block()
        signals.watch(self._wakeup_out, (*signals.FORWARDED, signals.SIGCHLD, signals.KILL_NOW))
        if not self._launch.namespaces:
            sys_.set_child_subreaper()
        try:
            prepare.execute(self._launch.prepare)
            nsinit.execute(self._launch.before)
            self._pid = os.fork()
        except (nsinit.OperationFailed, OSError) as error:
            raise EngineError(
                f"the engine {self._launch.engine} cannot start a container: {error}",
                "see cwl-userspace doctor",
            ) from None
        if self._pid == 0:
            self._be_keeper()
        os.close(self._lifeline_in)
        os.close(self._report_out)
        self._lifeline_in = self._report_out = -1
        if self._relay is not None:
            self._relay.forked()
        if self._terminal is not None:
            self._terminal.forked()

    def _be_keeper(self) -> None:
        """The forked child: never returns."""
        code = 125
        try:
            code = self._keep()
        except keeper.EngineEnded as error:
            keeper.kill_all_below()
            keeper.fail(self._report_out, 125, str(error))
        except (nsinit.OperationFailed, OSError) as error:
            keeper.fail(self._report_out, 125, f"cannot make the container: {error}")
        except BaseException as error:
            keeper.fail(self._report_out, 125, f"{type(error).__name__}: {error}")
        finally:
            os._exit(code)

    def _keep(self) -> int:
        launch = self._launch
        os.close(self._lifeline_out)
        wakeup_in, wakeup_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signals.watch(wakeup_out, (*signals.FORWARDED, signals.SIGCHLD))
        os.setsid()
        sys_.set_pdeathsig(signals.SIGKILL if launch.namespaces else signals.SIGTERM)
        if not launch.namespaces:
            sys_.set_child_subreaper()
        if self._relay is not None:
            self._relay.become_standard_input()
        if self._terminal is not None:
            self._terminal.become_standard_streams()
        nsinit.execute(launch.inside)
        program = keeper.Program(
            launch.argv, launch.environment, launch.working_dir, launch.terminal
        )
        status_in = self._status_pipe()
        guard = self._guard()

        def become_container() -> None:
            nsinit.execute(launch.last)
            if guard is not None:
                guard.install()

        inherited = launch.locator.get("fd", launch.status_fd)
        child = keeper.start(program, self._report_out, become_container, inherited)
        if guard is not None:
            guard.adopt(child)
        # Standard streams are the program's: whoever reads them must see their end with it.
        null = os.open("/", os.O_PATH | os.O_CLOEXEC)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        if launch.status_fd:
            os.close(launch.status_fd)
        code = keeper.keep(
            child, self._lifeline_in, wakeup_in, lambda: self._target(child), status_in, guard
        )
        if not launch.namespaces:
            keeper.kill_all_below()
        if launch.private and code == keeper.KILLED:
            # The supervisor may have been killed, and then nobody else would.
            remove_tree(launch.private)
        return code

    def _guard(self) -> Guard | None:
        if not self._launch.guarded:
            return None
        from cwl_userspace.guard import Guard

        return Guard(self._launch.guarded, self._launch.locator)

    def _status_pipe(self) -> int:
        """A pipe whose write end is the descriptor that the program tells its status on."""
        wanted = self._launch.status_fd
        if not wanted:
            return -1
        # Whatever has that number now is ours, since all of ours are above the standard streams.
        self._report_out, self._lifeline_in = (
            fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
            for fd in (self._report_out, self._lifeline_in)
        )
        status_in, status_out = os.pipe()
        status_in = fcntl.fcntl(status_in, fcntl.F_DUPFD_CLOEXEC, 10)
        if status_out == wanted:
            os.set_inheritable(wanted, True)
        else:
            os.dup2(status_out, wanted, inheritable=True)
            os.close(status_out)
        os.set_blocking(status_in, False)
        return status_in

    def _target(self, child: int) -> int:
        for _ in range(self._launch.skip):
            child = keeper.first_child(child) if child else 0
        return child

    def wait(self, caller: int) -> int:
        """Serve until the keeper has ended; return its exit code."""
        signals.unblock()
        poll = select.poll()
        poll.register(self._wakeup_in, select.POLLIN)
        watch = _ParentWatch(caller, poll)
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._orphans = os.WIFSIGNALED(status)
                return keeper.exit_code(status)
            serving = [s for s in (self._relay, self._terminal) if s is not None]
            for service in serving:
                service.register(poll)
            for fd, event in poll.poll(self._timeout(watch)):
                if fd == self._wakeup_in:
                    self._signalled(os.read(fd, 64))
                elif fd != watch.fd:
                    for service in serving:
                        service.serve(fd, event)
            if watch.gone() or (self._deadline and time.monotonic() >= self._deadline):
                self.end()

    def _timeout(self, watch: _ParentWatch) -> float | None:
        """Milliseconds until something must be looked at again; None for never."""
        waits = [_PARENT_CHECK] if watch.must_poll else []
        if self._deadline:
            waits.append(max(0.0, self._deadline - time.monotonic()))
        return min(waits) * 1000 if waits else None

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signals.KILL_NOW:
                self.end()
            elif number in signals.FORWARDED:
                if number == signals.SIGWINCH and self._terminal is not None:
                    self._terminal.resize()
                self._forward(number)

    def _forward(self, number: int) -> None:
        if number in signals.ENDING:
            self._asked = self._asked or number
            self._deadline = self._deadline or time.monotonic() + GRACE
        try:
            os.kill(self._pid, number)
        except ProcessLookupError:
            pass

    def end(self) -> None:
        """End the container now: the keeper kills everything when this pipe closes."""
        if self._lifeline_out >= 0:
            os.close(self._lifeline_out)
            self._lifeline_out = -1
        self._deadline = 0.0
        if self._launch.namespaces:
            os.kill(self._pid, signals.SIGKILL)

    def result(self, code: int) -> int:
        """The code for the caller: a program that was asked to end has not succeeded."""
        report = os.read(self._report_in, 1 << 16).decode("utf-8", "surrogateescape")
        if report and not self._asked:
            raise _failure(self._launch.engine, report)
        if self._asked and (code == 0 or report):
            return 128 + self._asked
        return code

    def close(self) -> None:
        """Give everything back: what was not read of standard input, the terminal's state."""
        if self._orphans and not self._launch.namespaces:
            # The keeper was killed, so what it kept is ours now, and nobody's to end but ours.
            keeper.kill_all_below()
        for service in (self._relay, self._terminal):
            if service is not None:
                service.close()


class _ParentWatch:
    """Notices the end of the calling process, which is not that of one of its threads."""

    def __init__(self, caller: int, poll: select.poll) -> None:
        self._caller = caller
        self.fd = -1
        if caller:
            try:
                self.fd = os.pidfd_open(caller)
                poll.register(self.fd, select.POLLIN)
            except (OSError, AttributeError):
                self.fd = -1
        self.must_poll = bool(caller) and self.fd < 0

    def gone(self) -> bool:
        """True once the caller has ended, and so somebody else is our parent."""
        return bool(self._caller) and os.getppid() != self._caller


def _failure(engine: str, report: str) -> UserspaceError:
    code, _, message = report.partition(" ")
    if code == "127":
        return CommandNotFound(message, "see what it has with cwl-userspace run IMAGE ls")
    if code == "126":
        return CommandNotExecutable(message, "expected a program or script for this processor")
    return EngineError(f"the engine {engine}: {message}", "see cwl-userspace doctor")

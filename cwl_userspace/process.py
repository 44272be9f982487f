"""Run a launch: the supervisor, the part of us that the caller sees and that outlives the tool.

Supervisor, keeper and program are three processes in a line. The supervisor gives standard input
to the program, hands signals on, watches the caller, and sees to it that the tree ends.
"""

from __future__ import annotations

import errno
import os
import time

from cwl_userspace import nsinit, prepare
from cwl_userspace.errors import (
    CommandNotExecutable,
    CommandNotFound,
    EngineError,
    UserspaceError,
)
from cwl_userspace.forked import Forked
from cwl_userspace.image.confine import remove_tree
from cwl_userspace.kernel import signals
from cwl_userspace.kernel import syscalls as sys_
from cwl_userspace.lineage import kill_all_below
from cwl_userspace.stdin import Relay
from cwl_userspace.supervise import GRACE, Vigil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cwl_userspace.engines.base import Launch
    from cwl_userspace.limits import Limiter
    from cwl_userspace.store.inuse import Use
    from cwl_userspace.terminal import Terminal

WHOLE, LARGEST = "all processes", "the largest process"


class Usage:
    """What a run took: ``seconds`` of wall time, and the most ``memory`` in bytes of ``what``,
    which is WHOLE or LARGEST: nobody looks at the whole where neither a limit nor ``sampled``
    asks for it, or where the run is over before anybody did.
    """

    __slots__ = ("memory", "sampled", "seconds", "what")

    def __init__(self, sampled: bool = False) -> None:
        self.sampled = sampled
        self.memory = 0
        self.seconds = 0.0
        self.what = LARGEST

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s, memory of {self.what}: {self.memory / (1 << 20):.1f} MiB"


def run(
    launch: Launch,
    caller: int = 0,
    started: Callable[[int], None] | None = None,
    say: Callable[[str], None] | None = None,
    usage: Usage | None = None,
    grace: float = GRACE,
    kept: Sequence[int] = (),
    use: Use | None = None,
    until: int = 0,
) -> int:
    """Run a launch to its end and return the program's exit code, 128 + n for a signal.

    Nothing of the container is alive afterwards. The end of ``caller``, this process's parent,
    ends the container, and so does that of the process ``until``; 0 stands for nobody. ``started``
    is called with the keeper's id once the program, or the engine's own, has been executed,
    ``say`` with what is to be known of how the limits are kept; ``usage`` is filled in; ``grace``
    is how many seconds a program has to end once it was asked to. It inherits the descriptors
    ``kept`` under their numbers, which are high ones. ``use`` is what the container uses of a
    store, of which signs of life are given while it runs. Raise CommandNotFound,
    CommandNotExecutable or EngineError if the program could not be started, UsageError for a
    processor that is not there, and LimitReached if a limit has ended the container.
    """
    supervisor = _Supervisor(launch, usage or Usage(), grace, kept)
    supervisor.use = use
    supervisor.started = started
    try:
        supervisor.start(say)
        code = supervisor.wait(caller, until)
        return supervisor.result(code)
    finally:
        supervisor.close()


class _Supervisor:
    """One container's pipes and processes."""

    def __init__(self, launch: Launch, usage: Usage, grace: float, kept: Sequence[int]) -> None:
        self._launch = launch
        self._usage = usage
        self._grace = grace
        self._kept = kept
        self.use: Use | None = None
        self.started: Callable[[int], None] | None = None
        self._limiter: Limiter | None = None
        self._report_in, self._report_out = os.pipe()
        # What the keeper has to say once the program has been executed, which closes the other.
        self._later_in, self._later_out = os.pipe()
        self._lifeline_in, self._lifeline_out = os.pipe()
        self._wakeup_in, self._wakeup_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._relay = Relay.for_standard_input() if not launch.terminal else None
        self._terminal: Terminal | None = None
        self._pid = 0
        self._started = 0.0
        self._vigil: Vigil | None = None
        self._undo: Callable[[], None] | None = None

    def start(self, say: Callable[[str], None] | None) -> None:
        """Fork the keeper. Signals wait until both sides are ready for them."""
        if any(self._launch.limits.values()):
            from cwl_userspace.limits import Limiter

            self._limiter = Limiter(self._launch, os.environ)
            if say is not None:
                for note in self._limiter.notes:
                    say(note)
        if self._launch.terminal:
            from cwl_userspace.terminal import Terminal

            self._terminal = Terminal(self._launch)
        signals.block()
        numbers = (*signals.handed_on(), signals.SIGCHLD, signals.KILL_NOW)
        self._undo = signals.watch(self._wakeup_out, numbers)
        if not self._launch.namespaces:
            sys_.set_child_subreaper()
        try:
            prepare.execute(self._launch.prepare)
            nsinit.execute(self._launch.before)
            self._pid = os.fork()
        except (nsinit.OperationFailed, OSError) as error:
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            room = f"make room where {self._launch.private} is, or set TMPDIR to another directory"
            raise EngineError(
                f"the engine {self._launch.engine} cannot start a container: {error}",
                room if full else "see cwl-userspace doctor",
            ) from None
        if self._pid == 0:
            os.close(self._lifeline_out)
            ends = (self._report_out, self._later_out, self._lifeline_in)
            parts = (self._limiter, self._relay, self._terminal)
            Forked(self._launch, self._kept, *ends, *parts).become_keeper()
        self._started = time.monotonic()
        os.close(self._lifeline_in)
        os.close(self._report_out)
        os.close(self._later_out)
        self._lifeline_in = self._report_out = self._later_out = -1
        if self._limiter is not None:
            self._limiter.start(self._pid)
        if self._relay is not None:
            self._relay.forked()
        if self._terminal is not None:
            self._terminal.forked()

    def wait(self, caller: int, until: int) -> int:
        """Serve until the keeper has ended; return its exit code."""
        services = [s for s in (self._relay, self._terminal) if s is not None]
        lifeline, self._lifeline_out = self._lifeline_out, -1
        self._vigil = Vigil(self._launch, self._pid, lifeline, services, self._limiter, self._grace)
        self._vigil.use = self.use
        self._vigil.report, self._vigil.started = self._report_in, self.started
        if self._usage.sampled and not self._launch.limits.get("memory"):
            from cwl_userspace.memory import Peak

            self._vigil.memory = Peak(self._pid, self._launch.private)
        return self._vigil.wait(self._wakeup_in, caller, until)

    def result(self, code: int) -> int:
        """The code for the caller: a program that was asked to end has not succeeded."""
        said = os.read(self._report_in, 1 << 16) or os.read(self._later_in, 1 << 16)
        report = said.decode("utf-8", "surrogateescape")
        vigil, limiter, usage = self._vigil, self._limiter, self._usage
        assert vigil is not None
        usage.seconds = time.monotonic() - self._started
        usage.memory, usage.what = vigil.largest, LARGEST
        if vigil.memory is not None and vigil.memory.peak > usage.memory:
            usage.memory, usage.what = vigil.memory.peak, WHOLE
        if limiter is not None:
            limiter.close()
            if limiter.peak():
                usage.memory, usage.what = limiter.peak(), WHOLE
        if report and not vigil.asked:
            raise _failure(self._launch.engine, report)
        vigil.tell_started()
        if limiter is not None and limiter.reached:
            raise limiter.error()
        if vigil.unwritable is not None:
            return _unwritable(vigil.unwritable)
        if vigil.asked and (code == 0 or report):
            return 128 + vigil.asked
        return code

    def close(self) -> None:
        """Give everything back: what was not read of standard input, the terminal's state."""
        orphans = self._vigil is not None and self._vigil.orphans
        if orphans and not self._launch.namespaces:
            # The keeper was killed, so what it kept is ours now, and nobody's to end but ours.
            kill_all_below()
        for part in (self._vigil, self._limiter, self._relay, self._terminal):
            if part is not None:
                part.close()
        if self._launch.private:
            remove_tree(self._launch.private)
        self._give_back()

    def _give_back(self) -> None:
        """Signals are as they were, and nothing of ours is open."""
        signals.unwatch()
        vigil = self._vigil
        # One who was asked to end has nothing to do but to tidy up.
        if self._undo is not None and (vigil is None or not (vigil.asked or vigil.forced)):
            self._undo()
        for fd in (
            self._report_in,
            self._report_out,
            self._later_in,
            self._later_out,
            self._lifeline_in,
            self._lifeline_out,
            self._wakeup_in,
            self._wakeup_out,
        ):
            if fd >= 0:
                os.close(fd)


def _unwritable(error: OSError) -> int:
    """The end of a run whose terminal's output could not be passed on."""
    if error.errno == errno.EPIPE:
        return 128 + signals.SIGPIPE
    raise UserspaceError(
        f"standard output cannot be written: {error.strerror}", "the container was ended"
    )


def _failure(engine: str, report: str) -> UserspaceError:
    code, _, message = report.partition(" ")
    if code == "127":
        return CommandNotFound(message, "see what it has with cwl-userspace run IMAGE ls")
    if code == "126":
        return CommandNotExecutable(message, "expected a program or script for this processor")
    return EngineError(f"the engine {engine}: {message}", "see cwl-userspace doctor")

"""Run a launch: the supervisor, the part of us that the caller sees and that outlives the tool.

Supervisor, keeper and program are three processes in a line. The supervisor gives standard input
to the program, hands signals on, watches the caller, and sees to it that the tree ends.
"""

from __future__ import annotations

import errno
import os
import time

from cwl_userspace import keeper, nsinit, prepare
from cwl_userspace.errors import (
    CommandNotExecutable,
    CommandNotFound,
    EngineError,
    UserspaceError,
)
from cwl_userspace.image.confine import remove, remove_tree
from cwl_userspace.kernel import signals
from cwl_userspace.kernel import syscalls as sys_
from cwl_userspace.stdin import Relay
from cwl_userspace.supervise import GRACE, Vigil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cwl_userspace.engines.base import Launch
    from cwl_userspace.guard import Guard
    from cwl_userspace.limits import Limiter
    from cwl_userspace.store.inuse import Use
    from cwl_userspace.terminal import Terminal

_PLACE = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
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
    die_with_parent: bool,
    started: Callable[[int], None] | None = None,
    say: Callable[[str], None] | None = None,
    usage: Usage | None = None,
    grace: float = GRACE,
    kept: Sequence[int] = (),
    use: Use | None = None,
    until: int = 0,
) -> int:
    """Run a launch to its end and return the program's exit code, 128 + n for a signal.

    Nothing of the container is alive afterwards. With ``die_with_parent`` the end of the calling
    process ends the container, and so does that of the process ``until``. ``started`` is called
    with the keeper's id once the program, or the engine's own, has been executed, ``say`` with
    what is to be known of how the limits are kept; ``usage`` is filled in; ``grace`` is how many
    seconds a program has to end once it was asked to. It inherits the descriptors ``kept`` under
    their numbers, which are high ones. ``use`` is what the container uses of a store, of which
    signs of life are given while it runs. Raise CommandNotFound,
    CommandNotExecutable or EngineError if the program could not be started, UsageError for a
    processor that is not there, and LimitReached if a limit has ended the container.
    """
    caller = os.getppid()
    supervisor = _Supervisor(launch, usage or Usage(), grace, kept)
    supervisor.use = use
    supervisor.started = started
    try:
        supervisor.start(say)
        code = supervisor.wait(caller if die_with_parent else 0, until)
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
        numbers = (*signals.FORWARDED, signals.SIGCHLD, signals.KILL_NOW)
        self._undo = signals.watch(self._wakeup_out, numbers)
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
        # One that has something to clear away, if only the modes of the caller's terminal, sees by
        # the lifeline that it is to end.
        at_once = launch.namespaces and not (launch.private or launch.terminal or launch.joined)
        sys_.set_pdeathsig(signals.SIGKILL if at_once else signals.SIGTERM)
        if not launch.namespaces:
            sys_.set_child_subreaper()
        if self._limiter is not None:
            self._limiter.enter_keeper()
        if self._relay is not None:
            self._relay.become_standard_input()
        if self._terminal is not None:
            self._terminal.become_standard_streams()
        above = os.open(os.path.dirname(launch.private), _PLACE) if launch.private else -1
        nsinit.execute(launch.inside)
        terminal = launch.terminal and not launch.script
        program = keeper.Program(launch.argv, launch.environment, launch.working_dir, terminal)
        status_in, inherited = self._shim_descriptors() if launch.script else (-1, [])
        guard = self._guard()
        inherited += guard.inherited if guard is not None else []

        def become_container() -> None:
            if self._limiter is not None:
                self._limiter.enter_program()
            nsinit.execute(launch.last)
            if guard is not None:
                guard.install()

        child = keeper.start(program, self._report_out, become_container, inherited, self._kept)
        os.close(self._report_out)
        self._report_out = self._later_out
        if guard is not None:
            guard.adopt(child)
        # Standard streams are the program's: whoever reads them must see their end with it.
        null = os.open("/", os.O_PATH | os.O_CLOEXEC)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        for fd in (*inherited, *self._kept):
            os.close(fd)
        shim = bool(launch.script.get("watched"))
        code = keeper.keep(
            child, self._lifeline_in, wakeup_in, lambda: self._target(child), status_in, guard, shim
        )
        if launch.joined:
            if code == keeper.KILLED:
                keeper.kill_group(child)
        elif not launch.namespaces:
            keeper.kill_all_below()
        elif launch.after or launch.private:
            keeper.kill_all_others()
            nsinit.tidy(launch.after)
        if code == keeper.KILLED or keeper.is_alone(self._lifeline_in):
            # The supervisor may have been killed, and then nobody else would.
            if self._terminal is not None:
                self._terminal.restore()
            if launch.private:
                remove(os.path.basename(launch.private), above)
        return code

    def _guard(self) -> Guard | None:
        if not self._launch.guarded and not self._launch.clones_judged:
            return None
        from cwl_userspace.guard import Guard

        return Guard(self._launch.guarded, self._launch.locator)

    def _shim_descriptors(self) -> tuple[int, list[int]]:
        """The read end of the status pipe, and what the shim inherits."""
        from cwl_userspace.script import TooLong, descriptors

        script = self._launch.script
        status_in, status_out = os.pipe()
        os.set_blocking(status_in, False)
        try:
            place = self._launch.private or self._launch.working_dir
            return status_in, [status_out, *descriptors(script, place)]
        except TooLong as error:
            keeper.fail(self._report_out, 126, str(error))

    def _target(self, child: int) -> int:
        """The process to signal; 0 while there is none, only some that an engine starts before."""
        for _ in range(self._launch.skip):
            child = keeper.first_child(child) if child else 0
        script = self._launch.script
        if child and self._launch.skip and script and not script["watched"]:
            from cwl_userspace.script import NAME

            return child if keeper.name_of(child) == NAME[:15] else 0
        return child

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
            keeper.kill_all_below()
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

"""What the supervisor's forked child does: from a launch to a program that runs and is kept.

It prepares the container around itself, starts the program, and is the keeper from then on.
"""

from __future__ import annotations

import os

from cwl_userspace import keeper, lineage, nsinit
from cwl_userspace.image.confine import remove
from cwl_userspace.kernel import signals
from cwl_userspace.kernel import syscalls as sys_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from cwl_userspace.engines.base import Launch
    from cwl_userspace.guard import Guard
    from cwl_userspace.limits import Limiter
    from cwl_userspace.stdin import Relay
    from cwl_userspace.terminal import Terminal

_PLACE = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Forked:
    """The keeper of one launch; ``report``, ``later`` and ``lifeline`` are its ends of pipes.

    What is said to ``report`` comes before the program is executed, to ``later`` after that.
    """

    def __init__(
        self,
        launch: Launch,
        kept: Sequence[int],
        report: int,
        later: int,
        lifeline: int,
        limiter: Limiter | None,
        relay: Relay | None,
        terminal: Terminal | None,
    ) -> None:
        self._launch = launch
        self._kept = kept
        self._report = report
        self._later = later
        self._lifeline = lifeline
        self._limiter = limiter
        self._relay = relay
        self._terminal = terminal

    def become_keeper(self) -> NoReturn:
        """Keep the container to its end, and end this process with the program's exit code."""
        code = 125
        try:
            code = self._keep()
        except keeper.EngineEnded as error:
            lineage.kill_all_below()
            keeper.fail(self._report, 125, str(error))
        except (nsinit.OperationFailed, OSError) as error:
            keeper.fail(self._report, 125, f"cannot make the container: {error}")
        except BaseException as error:
            keeper.fail(self._report, 125, f"{type(error).__name__}: {error}")
        finally:
            os._exit(code)

    def _keep(self) -> int:
        launch = self._launch
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

        child = keeper.start(program, self._report, become_container, inherited, self._kept)
        os.close(self._report)
        self._report = self._later
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
            child, self._lifeline, wakeup_in, lambda: self._target(child), status_in, guard, shim
        )
        if launch.joined:
            if code == keeper.KILLED:
                lineage.kill_group(child)
        elif not launch.namespaces:
            lineage.kill_all_below()
        elif launch.after or launch.private:
            lineage.kill_all_others()
            nsinit.tidy(launch.after)
        if code == keeper.KILLED or keeper.is_alone(self._lifeline):
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
            keeper.fail(self._report, 126, str(error))

    def _target(self, child: int) -> int:
        """The process to signal; 0 while there is none, only some that an engine starts before."""
        for _ in range(self._launch.skip):
            child = lineage.first_child(child) if child else 0
        script = self._launch.script
        if child and self._launch.skip and script and not script["watched"]:
            from cwl_userspace.script import NAME

            return child if lineage.name_of(child) == NAME[:15] else 0
        return child

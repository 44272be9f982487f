"""Hold one container to its limits: of memory, processors and time, for all its processes.

By cgroup v2 where a part of its tree is ours; otherwise memory by watching it, and processors by
affinity. An address-space limit (RLIMIT_AS) would be for each process alone, and Java reserves
far more than it uses.
"""

from __future__ import annotations

import math
import os
import time

from cwl_userspace import cgroups, scope
from cwl_userspace.errors import EngineError, LimitReached
from cwl_userspace.kernel import signals
from cwl_userspace.nsinit import OperationFailed
from cwl_userspace.processors import Claim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cwl_userspace.engines.base import Launch
    from cwl_userspace.memory import TreeMemory

TIME, MEMORY = "time", "memory"
TIMED_OUT = 124
_KILLED = 128 + signals.SIGKILL
# Memory is looked at again as soon as the rest of what is allowed could be taken at this rate, in
# bytes a second, which is what one processor can fill; but not more often than this, in seconds,
_FASTEST_GROWTH = 4 << 30
_SHORTEST, _LONGEST = 0.02, 1.0
# nor so often that looking, cheaply or exactly, takes more than this part of a processor's time. It
# is time on a processor that counts: on a busy node we would look less often for having waited.
_CHEAP, _EXACT = 1 / 50, 1 / 20
# Engines that move what they start to a cgroup of its own, out of any of ours.
_OWN_CGROUPS = ("runc",)
# Where the kernel kills one process of a group and not all, we look this often.
_EVENTS = 0.5


class Limiter:
    """One container's limits, from before its start to its end."""

    def __init__(self, launch: Launch, environ: Mapping[str, str]) -> None:
        """Choose the means; raise UsageError for a processor that is not there."""
        limits = launch.limits
        self._memory: int = limits.get("memory") or 0
        self._cpus: float = limits.get("cpus") or 0.0
        self._seconds: float = limits.get("seconds") or 0.0
        self._private = launch.private
        self._engine = launch.engine
        self._deadline = 0.0
        self._peak = 0
        self._watch: MemoryWatch | None = None
        self._group = self._make_group(environ)
        self._entrance = self._group.entrance() if self._group is not None else -1
        self._claim: Claim | None = None
        by_quota = self._holds("cpu")
        # proot is several times faster where the tracer is on the processor of what it traces.
        together = not launch.namespaces and self._cpus <= 1
        if limits.get("cpuset") or (self._cpus and (together or not by_quota)):
            cpus = self._cpus if together or not by_quota else 0.0
            self._claim = Claim(cpus, limits.get("cpuset") or ())
        self.reached = ""
        self.notes = [] if by_quota else cpu_notes(self._cpus)

    def enter_keeper(self) -> None:
        """In the keeper: run on the processors that were chosen, with all that is to come."""
        if self._claim is not None:
            os.sched_setaffinity(0, self._claim.numbers)

    def enter_program(self) -> None:
        """In the process that is to become the program: enter the cgroup, if there is one."""
        if self._entrance >= 0:
            try:
                os.write(self._entrance, b"0")
            except OSError as error:
                raise OperationFailed(f"its cgroup cannot be entered: {error.strerror}") from None

    def start(self, keeper: int) -> None:
        """In the supervisor, once the keeper runs: time begins."""
        if self._seconds:
            self._deadline = time.monotonic() + self._seconds
        if self._memory and not self._holds("memory"):
            from cwl_userspace.memory import TreeMemory

            self._watch = MemoryWatch(self._memory, TreeMemory(keeper, self._private))

    def waits(self) -> list[float]:
        """After how many seconds ``look`` is to be called, if at all: the least of these."""
        if self.reached:
            return []
        now = time.monotonic()
        waits = [self._deadline - now] if self._deadline else []
        if self._watch is not None:
            waits.append(self._watch.next_look - now)
        elif self._group is not None and not self._group.kills_whole_group:
            waits.append(_EVENTS)
        return [max(0.0, wait) for wait in waits]

    def look(self) -> str:
        """TIME or MEMORY the first time that this limit is found to be reached, else nothing."""
        if self.reached:
            return ""
        now = time.monotonic()
        if self._is_over(now):
            self.reached = MEMORY
        elif self._deadline and now >= self._deadline:
            self.reached = TIME
        return self.reached

    def peak(self) -> int:
        """The most memory in bytes that all the processes had together; 0 if it is not known."""
        return self._peak if self._watch is None else self._watch.peak

    def close(self) -> None:
        """The container has ended: note what is to be known of it, and give everything back."""
        if self._claim is not None:
            self._claim.close()
        if self._group is not None:
            self._peak = self._group.peak()
            if not self.reached and self._is_over(0.0):
                self.reached = MEMORY
            os.close(self._entrance)
            self._group.remove()
            self._group = None

    def error(self) -> LimitReached:
        """What the caller is told where ``reached`` says that a limit was."""
        if self.reached == TIME:
            return LimitReached(
                f"the container was ended: it ran longer than --timeout {self._seconds:g} s",
                "give it more time, or 0 for no limit",
                TIMED_OUT,
            )
        return LimitReached(
            "the container was killed: its processes together took more than --memory"
            f" {_mib(self._memory)}{self._watch.found if self._watch is not None else ''}",
            "give it more memory; what it writes to /dev/shm and other places in memory counts",
            _KILLED,
        )

    def _is_over(self, now: float) -> bool:
        if self._watch is not None:
            return now >= self._watch.next_look and self._watch.look()
        return self._holds("memory") and self._group is not None and self._group.oom_kills() > 0

    def _holds(self, controller: str) -> bool:
        return self._group is not None and controller in self._group.controllers

    def _make_group(self, environ: Mapping[str, str]) -> cgroups.Cgroup | None:
        """A cgroup with as much of what is wanted as can be had; None where nothing can."""
        wanted = wanted_controllers(self._memory, self._cpus)
        if not wanted or self._engine in _OWN_CGROUPS:
            return None
        try:
            parent, controllers = delegated(wanted, environ, ask=True)
            group = cgroups.Cgroup(parent, controllers)
        except (cgroups.NotDelegated, OSError):
            return None
        try:
            if "memory" in controllers:
                group.limit_memory(self._memory)
            if "cpu" in controllers:
                group.limit_cpus(self._cpus)
        except OSError as error:
            group.remove()
            raise EngineError(
                f"the cgroup {group.path} takes no limit: {error.strerror}",
                "see cwl-userspace doctor",
            ) from None
        return group


class MemoryWatch:
    """Looks at the memory of a tree, the more often the nearer it is to its limit."""

    __slots__ = ("_limit", "_tree", "found", "next_look", "peak")

    def __init__(self, limit: int, tree: TreeMemory) -> None:
        self._limit = limit
        self._tree = tree
        self.peak = 0
        self.found = ""
        self.next_look = 0.0

    def look(self) -> bool:
        """True if the limit has been passed."""
        start = time.thread_time()
        used, share = self._tree.at_most(), _CHEAP
        if used > self._limit:
            used, share = self._tree.exactly(), _EXACT
        cost = time.thread_time() - start
        self.peak = max(self.peak, used)
        room = max(0, self._limit - used) / _FASTEST_GROWTH
        pause = min(max(room, _SHORTEST), _LONGEST)
        self.next_look = time.monotonic() + max(pause, cost / share)
        if used > self._limit:
            self.found = f": {_mib(used)}"
        return used > self._limit


def wanted_controllers(memory: int, cpus: float) -> set[str]:
    """The controllers of cgroup v2 that these limits need."""
    return {name for name, limit in (("memory", memory), ("cpu", cpus)) if limit}


def delegated(wanted: set[str], environ: Mapping[str, str], ask: bool) -> tuple[str, set[str]]:
    """A cgroup below which we may limit, and which of the wanted controllers it gives.

    With ``ask`` the user's systemd is asked for one if there is none. Raise NotDelegated.
    """
    mount = cgroups.mount_point()
    try:
        return cgroups.find_parent(mount, cgroups.own_place(mount), wanted)
    except cgroups.NotOurs:
        if not ask or scope.user_manager(environ) or not scope.enter(environ):
            raise
    return cgroups.find_parent(mount, cgroups.own_place(mount), wanted)


def means(environ: Mapping[str, str]) -> dict[str, str]:
    """How each limit is held on this host, by trying it: a sentence each, for people."""
    wanted = {"memory", "cpu"}
    reason = ""
    try:
        parent, controllers = delegated(wanted, environ, ask=True)
        group = cgroups.Cgroup(parent, controllers)
        group.remove()
    except (cgroups.NotDelegated, OSError) as error:
        parent, controllers, reason = "", set(), str(error)
        nobody = scope.user_manager(environ)
        if isinstance(error, cgroups.NotOurs) and nobody:
            reason = f"{reason}, and {nobody}"
    names = " and ".join(sorted(controllers))
    watching = f"by watching, at best every {1000 * _SHORTEST:.0f} ms"
    return {
        "cgroup v2": f"no: {reason}" if reason else f"yes: {names}, below {parent}",
        "memory": "by cgroup v2" if "memory" in controllers else watching,
        "cpus": "by cgroup v2" if "cpu" in controllers else "by affinity, so whole processors",
        "time": "by the supervisor",
    }


def cpu_notes(cpus: float) -> list[str]:
    """What is to be known of a number of processors that affinity alone holds."""
    whole = math.ceil(cpus)
    if cpus == whole:
        return []
    name = "1 processor" if whole == 1 else f"{whole} processors"
    return [f"--cpus {cpus:g} is held as {name}: a part of one needs cgroup v2, not ours here"]


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"

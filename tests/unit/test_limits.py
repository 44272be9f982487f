"""How often the memory of a container is looked at, whose limit no cgroup holds."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cwl_userspace.limits import MemoryWatch
from cwl_userspace.memory import TreeMemory

MIB = 1 << 20


class Tree(TreeMemory):
    """Takes a fixed amount of memory; ``effort`` is what it costs to learn that."""

    __slots__ = ("_effort", "_used")

    def __init__(self, used: int, effort: Callable[[], None]) -> None:
        self._used, self._effort = used, effort

    def at_most(self) -> int:
        self._effort()
        return self._used

    def exactly(self) -> int:
        return self.at_most()


def pause_after(used: int, effort: Callable[[], None]) -> float:
    """Seconds from a look until the next one, where 100 MiB are allowed."""
    watch = MemoryWatch(100 * MIB, Tree(used, effort))
    assert not watch.look()
    return watch.next_look - time.monotonic()


def work(seconds: float) -> Callable[[], None]:
    """Something that takes so much of a processor's time."""

    def effort() -> None:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    return effort


def test_a_look_that_waited_for_a_processor_does_not_put_off_the_next_one() -> None:
    assert pause_after(99 * MIB, lambda: time.sleep(0.2)) < 0.5


def test_looks_that_are_work_take_a_fiftieth_of_a_processor() -> None:
    assert pause_after(99 * MIB, work(0.02)) > 0.5


def test_looks_are_the_rarer_the_farther_the_limit_is() -> None:
    idle = work(0)
    near, far = pause_after(99 * MIB, idle), MemoryWatch(1 << 40, Tree(0, idle))
    assert not far.look()
    assert near < 0.5 < far.next_look - time.monotonic()


@pytest.mark.parametrize(("used", "over"), [(100 * MIB, False), (100 * MIB + 1, True)])
def test_only_more_than_the_limit_passes_it(used: int, over: bool) -> None:
    watch = MemoryWatch(100 * MIB, Tree(used, work(0)))
    assert watch.look() is over
    assert (watch.peak, bool(watch.found)) == (used, over)

"""Events in time: processes that share processors, wires and file servers. Nothing is random."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator
from typing import Protocol


class Server(Protocol):
    """What a process may ask for an amount of."""

    def use(self, amount: float, done: Callable[[], None]) -> None:
        """Call ``done`` when the amount has been had."""


# Each value is a server and the amount that is asked of it; the process goes on when it has that.
Process = Generator[tuple[Server, float], None, None]


class World:
    """The clock, and what happens next. Asked for an amount, it lets so many seconds pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def use(self, amount: float, done: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + amount, next(self._numbers), done))

    def start(self, process: Process) -> None:
        self.use(0.0, lambda: self._resume(process))

    def run(self, horizon: float) -> None:
        """Until nothing happens any more, or the clock has come to the horizon."""
        while self._events and self._events[0][0] <= horizon:
            self.now, _, what = heapq.heappop(self._events)
            what()

    def _resume(self, process: Process) -> None:
        request = next(process, None)
        if request is not None:
            server, amount = request
            server.use(amount, lambda: self._resume(process))


class Resource:
    """Something that is shared evenly: ``capacity`` a second in all, at most ``each`` for one."""

    def __init__(self, world: World, capacity: float, each: float) -> None:
        self._world, self._capacity, self._each = world, capacity, each
        # What one has been given who was there from the start. Who comes now and wants an amount
        # is done when this has grown by so much; so nobody else has to be told of him.
        self._given, self._since = 0.0, 0.0
        self._users: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._plan_number = 0

    def use(self, amount: float, done: Callable[[], None]) -> None:
        self._advance()
        heapq.heappush(self._users, (self._given + amount, next(self._numbers), done))
        self._plan()

    def _rate(self) -> float:
        return min(self._each, self._capacity / max(1, len(self._users)))

    def _advance(self) -> None:
        self._given += (self._world.now - self._since) * self._rate()
        self._since = self._world.now

    def _plan(self) -> None:
        self._plan_number += 1
        if self._users:
            number = self._plan_number
            left = max(0.0, self._users[0][0] - self._given) / self._rate()
            self._world.use(left, lambda: self._end_first(number))

    def _end_first(self, number: int) -> None:
        if number != self._plan_number:
            return  # somebody has come meanwhile, so this is no longer the time
        self._advance()
        target, _, done = heapq.heappop(self._users)
        self._given = max(self._given, target)
        self._plan()
        done()


class All:
    """Several requests at once: it is had when the last of them is."""

    def __init__(self, *requests: tuple[Server, float]) -> None:
        self._requests = requests

    def use(self, amount: float, done: Callable[[], None]) -> None:
        left = len(self._requests)

        def one_less() -> None:
            nonlocal left
            left -= 1
            if not left:
                done()

        for server, wanted in self._requests:
            server.use(wanted, one_less)

"""Try what an engine promises: real containers, whose root is made from this host's Python.

``doctor`` and ``conformance.promises`` put what was found beside what the engine says.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from cwl_userspace.engines.base import PROMISES
from cwl_userspace.errors import UserspaceError
from cwl_userspace.trial.container import Untold
from cwl_userspace.trial.probes import Finding, Trial
from cwl_userspace.trial.surroundings import surroundings

if TYPE_CHECKING:
    from cwl_userspace.engines.base import Engine

_CHUNK = 1 << 16


def try_engine(engine: Engine, place: str, environ: Mapping[str, str]) -> dict[str, Finding]:
    """What was found for each promise; ``place`` is a directory for this trial alone."""
    try:
        with surroundings(place, environ) as around:
            return Trial(engine, around).findings()
    except Untold as error:
        reason = f"cannot try: {error}"
    except UserspaceError as error:
        reason = error.message
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        reason = f"cannot try: {error.strerror}{where}"
    return {promise: Finding(None, reason) for promise in PROMISES}


class Trials:
    """Trials of several engines at once, each in a process of its own."""

    def __init__(self, place: str, environ: Mapping[str, str]) -> None:
        self._place = place
        self._environ = environ
        self._running: dict[int, str] = {}
        self._pids: list[int] = []

    def start(self, name: str, engine: Engine) -> None:
        """Begin with an engine, by the name that its result is to have."""
        place = os.path.join(self._place, f"trial-{len(self._pids)}")
        os.mkdir(place)
        read_end, write_end = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(read_end)
                found = try_engine(engine, place, self._environ)
                said = {promise: finding.to_json() for promise, finding in found.items()}
                with open(write_end, "w", encoding="utf-8", errors="surrogateescape") as file:
                    json.dump(said, file)
                code = 0
            finally:
                os._exit(code)
        os.close(write_end)
        self._running[read_end] = name
        self._pids.append(pid)

    def results(self) -> Iterator[tuple[str, dict[str, Finding]]]:
        """Each engine's name and what was found, in the order in which they are done."""
        said = dict.fromkeys(self._running, b"")
        poll = select.poll()
        for fd in said:
            poll.register(fd, select.POLLIN)
        while self._running:
            for fd, _ in poll.poll():
                data = os.read(fd, _CHUNK)
                said[fd] += data
                if not data:
                    poll.unregister(fd)
                    os.close(fd)
                    yield self._running.pop(fd), _findings(said[fd])

    def stop(self) -> None:
        """End what is still going on, and its containers with it."""
        for fd in self._running:
            os.close(fd)
        for pid in self._pids:
            if self._running:
                os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        self._pids, self._running = [], {}


def _findings(said: bytes) -> dict[str, Finding]:
    if not said:
        return {promise: Finding(None, "the trial itself failed") for promise in PROMISES}
    return {promise: Finding(**found) for promise, found in json.loads(said).items()}


def contradictions(claimed: Mapping[str, str], found: Mapping[str, Finding]) -> dict[str, str]:
    """What an engine promises and does not keep: each promise, and what happened."""
    return {
        promise: finding.reason
        for promise, finding in found.items()
        if finding.kept is False and not claimed[promise]
    }

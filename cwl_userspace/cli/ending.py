"""Ask a container to end, and wait for it: what stop, wait, rm and restart have in common."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from cwl_userspace import runs
from cwl_userspace.cli.request import seconds
from cwl_userspace.cli.subjects import Subject, failure, is_away
from cwl_userspace.cli.words import Words
from cwl_userspace.errors import UsageError
from cwl_userspace.kernel import signals

PATIENCE = 10.0
_PAUSE = 0.02
_LONGEST_PAUSE = 0.2


def named(words: Words, verb: str) -> Sequence[str]:
    """The containers that were named; raise UsageError if none was."""
    if not words.arguments:
        raise UsageError(f"{verb} needs a container", "see cwl-userspace ps -a")
    return words.arguments


def stop(subject: Subject, number: int = 0, patience: float | None = None) -> None:
    """End what runs in a container: by ``number``, or by the signal that it wants, and after a
    while by force. Raise UserspaceError if it is still there, or elsewhere.
    """
    for record in subject.running:
        _check_near(subject, record)
        given = record.get("stop_timeout")
        wait = seconds(given, "--stop-timeout") if given else PATIENCE
        if patience is not None:
            wait = patience
        if not end(record, number or _wanted(record), wait) and not kill(record):
            raise failure(f"{subject.shown!r} does not end", f"see process {record['pid']}")


def kill(record: dict[str, Any]) -> bool:
    """End a run at once; True if it has ended."""
    return end(record, signals.KILL_NOW, PATIENCE)


def end(record: dict[str, Any], number: int, patience: float) -> bool:
    """Send a signal to a run; True if it has ended in time."""
    try:
        os.kill(record["pid"], number)
    except ProcessLookupError:
        return True
    return wait_for(record, patience)


def wait_for(record: dict[str, Any], patience: float = float("inf")) -> bool:
    """True once the supervisor has ended, which writes the exit code down before."""
    deadline = time.monotonic() + patience
    pause = _PAUSE
    while runs.is_alive(record):
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.2, _LONGEST_PAUSE)
    return True


def signal(text: str) -> int:
    """A signal that is passed on to the program; raise UsageError for any other."""
    try:
        number = signals.number(text)
    except KeyError:
        raise UsageError(f"no signal {text!r}", "for example TERM or INT") from None
    if number == signals.SIGKILL:
        return signals.KILL_NOW
    if number not in signals.FORWARDED:
        raise UsageError(f"the signal {number} is not passed on", "for example TERM or INT")
    return number


def _wanted(record: dict[str, Any]) -> int:
    """What the image or --stop-signal names, if it can be sent."""
    try:
        return signal(record.get("stop") or "TERM")
    except UsageError:
        return signals.SIGTERM


def _check_near(subject: Subject, record: dict[str, Any]) -> None:
    if is_away(record):
        raise failure(f"{subject.shown!r} runs on {record['host']}", "stop it there")

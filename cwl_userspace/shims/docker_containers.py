"""``docker wait``, ``stop`` and ``rm``: of containers that run, and of those that have ended."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from cwl_userspace import containers, ended, runs
from cwl_userspace.cli import load
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.words import FLAG, VALUE, Option, Words, parse
from cwl_userspace.errors import ContainerNotFound, UsageError, UserspaceError
from cwl_userspace.kernel import signals

_STOP = (
    Option("-t --time --timeout", VALUE, "seconds between SIGTERM and SIGKILL; 10", "SECONDS"),
    Option("-s --signal", VALUE, "in place of SIGTERM", "SIGNAL"),
)
_RM = (
    Option("-f --force", FLAG, "end it first; none of that name is no error"),
    Option("-v --volumes", FLAG, "accepted: there are none"),
)
_PAUSE = 0.05
_PATIENCE = 10.0


def wait(context: Context, argv: Sequence[str]) -> int:
    """Wait for the end of each container and print its exit code."""
    for text in _named(parse("wait", (), argv), "wait"):
        _wait_for(_running(context, text))
        print(_ended(context, text)["code"], flush=True)
    return 0


def stop(context: Context, argv: Sequence[str]) -> int:
    """Ask each container to end, force it after a while, and print what was named."""
    words = parse("stop", _STOP, argv)
    patience = _seconds(words.value("timeout", str(_PATIENCE)))
    number = _signal(words.value("signal", "TERM"))
    for text in _named(words, "stop"):
        record = _running(context, text)
        if record is None:
            _ended(context, text)  # to be stopped again is no error
        elif not _end(record, number, patience):
            _end(record, signals.KILL_NOW, _PATIENCE)
        print(text)
    return 0


def rm(context: Context, argv: Sequence[str]) -> int:
    """Forget containers that have ended; remove those that ``create`` made, named by their ids."""
    words = parse("rm", _RM, argv)
    force = words.flag("force")
    for text in _named(words, "rm"):
        record = _running(context, text)
        if record is not None:
            if not force:
                raise _failure(f"the container {text!r} runs", "stop it first, or use rm -f")
            _end(record, signals.KILL_NOW, _PATIENCE)
        known = ended.find(context.settings.state, text)
        if known is not None:
            ended.forget(context.settings.state, known["id"])
        if record is None and known is None and not _remove_created(context, text, force):
            continue
        print(text)
    return 0


def _remove_created(context: Context, text: str, force: bool) -> bool:
    try:
        name = containers.find(context.store, text, by_name=False).name
    except ContainerNotFound:
        if force:
            return False
        raise _unknown(text) from None
    return load("rm")(context, [*(["--force"] if force else []), name]) == 0


def _named(words: Words, verb: str) -> Sequence[str]:
    if not words.arguments:
        raise UsageError(f"{verb} needs a container", "give its name, or its id from --cidfile")
    return words.arguments


def _running(context: Context, text: str) -> dict[str, Any] | None:
    for record in runs.running(context.settings.state):
        if record.get("name") == text or (len(text) >= 4 and record["id"].startswith(text)):
            return record
    return None


def _ended(context: Context, text: str) -> dict[str, Any]:
    record = ended.find(context.settings.state, text)
    if record is None:
        raise _unknown(text)
    return record


def _end(record: dict[str, Any], number: int, patience: float) -> bool:
    """Send a signal; True if the container has ended in time."""
    try:
        os.kill(record["pid"], number)
    except ProcessLookupError:
        return True
    return _wait_for(record, patience)


def _wait_for(record: dict[str, Any] | None, patience: float = float("inf")) -> bool:
    """True once the supervisor has ended, which writes the exit code down as its last."""
    deadline = time.monotonic() + patience
    while record is not None and runs.start_time(record["pid"]) == record["start"]:
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        raise UsageError(f"--time is {text!r}", "expected a number of seconds") from None


def _signal(text: str) -> int:
    try:
        number = signals.number(text)
    except KeyError:
        raise UsageError(f"no signal {text!r}", "for example TERM or INT") from None
    if number not in signals.FORWARDED:
        raise UsageError(f"the signal {number} is not passed on", "for example TERM or INT")
    return number


def _unknown(text: str) -> UserspaceError:
    return _failure(
        f"no container {text!r}", "it has ended and is removed, as --rm asks for, or never was"
    )


def _failure(message: str, hint: str) -> UserspaceError:
    error = UserspaceError(message, hint)
    error.exit_code = 1
    return error

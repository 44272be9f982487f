"""Containers that ended and were to be kept, with their exit codes, as Docker knows them until rm.

Some scripts learn the exit code of what they have run from ``docker wait`` alone.
"""

from __future__ import annotations

import json
import os
import time

from cwl_userspace import journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

_KEPT = 7 * 24 * 3600.0


def keep(
    state: str,
    identifier: str,
    name: str,
    code: int,
    facts: Mapping[str, Any] | None = None,
    when: float = 0.0,
) -> None:
    """Write down how a container ended, and when. What cannot be written is forgotten."""
    known = {"id": identifier, "name": name, "code": code, "ended": when or time.time()}
    record = {**(facts or {}), **known}
    top = _top(state)
    try:
        os.makedirs(top, mode=0o700, exist_ok=True)
        _forget_old(state)
        aside = os.path.join(top, f".{identifier}")
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(record, file)
        os.replace(aside, os.path.join(top, f"{identifier}.json"))
    except OSError:
        pass


def every(state: str) -> Iterator[dict[str, Any]]:
    """All that ended and is known, in no order."""
    for path in _paths(_top(state)):
        record = _read(path)
        if record is not None:
            yield record


def of(state: str, identifier: str) -> dict[str, Any] | None:
    """How the container of this whole id ended; None if nobody knows."""
    return _read(os.path.join(_top(state), f"{identifier}.json"))


def find(state: str, text: str) -> dict[str, Any] | None:
    """How the container of a name, an id or its beginning ended, the last of that name."""
    found = [
        record
        for record in every(state)
        if record["name"] == text or (len(text) >= 4 and record["id"].startswith(text))
    ]
    return max(found, key=lambda record: float(record["ended"]), default=None)


def forget(state: str, identifier: str) -> None:
    """Know no more of a container, nor what it has printed."""
    try:
        os.unlink(os.path.join(_top(state), f"{identifier}.json"))
    except OSError:
        pass
    journal.remove(state, identifier)


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            record: dict[str, Any] = json.loads(file.read())
            record.setdefault("ended", os.fstat(file.fileno()).st_mtime)
        whole = isinstance(record["id"], str) and isinstance(record["code"], int)
        return record if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _forget_old(state: str) -> None:
    """What create made is known as long as it is there."""
    for path in _paths(_top(state)):
        try:
            if os.stat(path).st_mtime > time.time() - _KEPT:
                continue
            with open(path, "rb") as file:
                record = json.loads(file.read())
            if not record.get("container"):
                forget(state, record["id"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue


def _paths(top: str) -> list[str]:
    try:
        return [os.path.join(top, name) for name in os.listdir(top) if name.endswith(".json")]
    except OSError:
        return []


def _top(state: str) -> str:
    return os.path.join(state, "ended")

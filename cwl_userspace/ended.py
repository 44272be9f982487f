"""Exit codes of containers that ended and were to be kept, as Docker knows them until ``rm``.

Some scripts learn the exit code of what they have run from ``docker wait`` alone.
"""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEPT = 7 * 24 * 3600.0


def keep(state: str, identifier: str, name: str, code: int) -> None:
    """Write down how a container ended. Where nothing can be written it is forgotten."""
    record = {"id": identifier, "name": name, "code": code}
    top = _top(state)
    try:
        os.makedirs(top, mode=0o700, exist_ok=True)
        _forget_old(top)
        aside = os.path.join(top, f".{identifier}")
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(record, file)
        os.replace(aside, os.path.join(top, f"{identifier}.json"))
    except OSError:
        pass


def find(state: str, text: str) -> dict[str, Any] | None:
    """How the container of a name, an id or its beginning ended, the last of that name."""
    found: list[tuple[float, dict[str, Any]]] = []
    for path in _paths(_top(state)):
        try:
            with open(path, "rb") as file:
                record = json.loads(file.read())
                written = os.fstat(file.fileno()).st_mtime
            if record["name"] == text or (len(text) >= 4 and record["id"].startswith(text)):
                found.append((written, record))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return max(found, key=lambda one: one[0])[1] if found else None


def forget(state: str, identifier: str) -> None:
    """The container is removed."""
    try:
        os.unlink(os.path.join(_top(state), f"{identifier}.json"))
    except OSError:
        pass


def _forget_old(top: str) -> None:
    """Most scripts never call ``docker rm``."""
    limit = time.time() - _KEPT
    for path in _paths(top):
        try:
            if os.stat(path).st_mtime < limit:
                os.unlink(path)
        except OSError:
            continue


def _paths(top: str) -> list[str]:
    try:
        return [os.path.join(top, name) for name in os.listdir(top) if name.endswith(".json")]
    except OSError:
        return []


def _top(state: str) -> str:
    return os.path.join(state, "ended")

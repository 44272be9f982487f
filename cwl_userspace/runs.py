"""The containers that are running now: a small file each, so that others can find and end them."""

from __future__ import annotations

import json
import os
import time

from cwl_userspace.errors import UserspaceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def register(state: str, identifier: str, facts: dict[str, Any]) -> None:
    """Say that a container runs under this process. Where nothing can be written it goes unsaid."""
    record = {
        **facts,
        "id": identifier,
        "host": os.uname().nodename,
        "pid": os.getpid(),
        "start": start_time(os.getpid()),
        "time": time.time(),
    }
    path = _path(state, identifier)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(record, file)
    except OSError:
        pass


def unregister(state: str, identifier: str) -> None:
    """The container has ended."""
    try:
        os.unlink(_path(state, identifier))
    except OSError:
        pass


def running(state: str, elsewhere: bool = False) -> Iterator[dict[str, Any]]:
    """Every container of this user on this host; records of supervisors that died are removed.

    With ``elsewhere`` also what runs on other hosts, or ran there and was cut off: nobody here
    can tell.
    """
    top = os.path.join(state, "runs")
    try:
        names = sorted(os.listdir(top))
    except OSError:
        return
    for name in names:
        try:
            with open(os.path.join(top, name), "rb") as file:
                record = json.loads(file.read())
            here = record["host"] == os.uname().nodename
            alive = start_time(record["pid"]) == record["start"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if here and not alive:
            unregister(state, record["id"])
        elif here or elsewhere:
            yield record


def find(state: str, text: str) -> dict[str, Any]:
    """The running container of a name, an id or its beginning; raise UserspaceError if none."""
    for record in running(state):
        if record.get("name") == text or (len(text) >= 4 and record["id"].startswith(text)):
            return record
    error = UserspaceError(f"no running container {text!r}", "it may have ended already")
    error.exit_code = 1
    raise error


def using(state: str, container: str) -> list[dict[str, Any]]:
    """The runs in a container of this id that ``create`` made, on whatever host."""
    return [record for record in running(state, True) if record.get("container") == container]


def start_time(pid: int) -> str:
    """When a process started, in ticks since boot: a process id may be used again.

    Empty if it has ended, be it that its parent has not asked for its exit code yet.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
    except (OSError, IndexError):
        return ""


def _path(state: str, identifier: str) -> str:
    return os.path.join(state, "runs", f"{identifier}.json")

"""The containers that are running now: a small file each, so that others can find and end them.

The file of one that is to be known after its end, ``kept``, has all that is to be known then; who
finds that its supervisor was killed writes down that it has ended.
"""

from __future__ import annotations

import json
import os
import time

from cwl_userspace import ended
from cwl_userspace.errors import UserspaceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


# What Docker says of what was killed, and of what a crash of the host has ended.
_KILLED, _CRASHED = 137, 255
# What is said of every run.
_NEEDED = (("id", str), ("host", str), ("pid", int), ("start", str), ("time", (int, float)))
# What is of no use, or nobody's business, once a run has ended.
_OF_ITS_LIFE = ("pid", "start", "boot", "launch", "ports")


def register(state: str, identifier: str, facts: dict[str, Any]) -> None:
    """Say that a container runs under this process. Where nothing can be written it goes unsaid."""
    record = {
        **facts,
        "id": identifier,
        "host": os.uname().nodename,
        "pid": os.getpid(),
        "start": start_time(os.getpid()),
        "boot": boot(),
        "time": time.time(),
    }
    try:
        os.makedirs(os.path.join(state, "runs"), mode=0o700, exist_ok=True)
        _write(state, record)
    except OSError:
        pass


def change(state: str, identifier: str, **facts: Any) -> None:
    """Say something else of what runs; raise OSError if that cannot be."""
    record = read(state, identifier)
    if record is not None:
        _write(state, {**record, **facts})


def read(state: str, identifier: str) -> dict[str, Any] | None:
    """What is said of a run; None if nothing is."""
    try:
        with open(_path(state, identifier), "rb") as file:
            record: dict[str, Any] = json.loads(file.read())
        return record
    except (OSError, ValueError):
        return None


def unregister(state: str, identifier: str) -> None:
    """The container has ended."""
    try:
        os.unlink(_path(state, identifier))
    except OSError:
        pass


def running(state: str, elsewhere: bool = False) -> Iterator[dict[str, Any]]:
    """Every container of this user on this host; those whose supervisors died have ended.

    With ``elsewhere`` also what runs on other hosts, or ran there and was cut off: nobody here
    can tell.
    """
    top = os.path.join(state, "runs")
    try:
        names = sorted(os.listdir(top))
    except OSError:
        return
    for name in names:
        if not name.endswith(".json"):
            continue
        record = _read(os.path.join(top, name))
        if record is None:
            continue
        here = record["host"] == os.uname().nodename
        if here and not is_alive(record):
            _bury(state, record)
        elif here or elsewhere:
            yield record


def _read(path: str) -> dict[str, Any] | None:
    """What a file says of a run. It is written as a whole, so one that is damaged was cut off when
    the host went down: it is removed, and nobody knows what it said.
    """
    try:
        with open(path, "rb") as file:
            record = json.loads(file.read())
        known = [isinstance(record[name], kind) for name, kind in _NEEDED]
    except OSError:
        return None
    except (ValueError, LookupError, TypeError):
        known = [False]
    if all(known):
        found: dict[str, Any] = record
        return found
    try:
        os.unlink(path)
    except OSError:
        pass
    return None


def find(state: str, text: str) -> dict[str, Any]:
    """The running container of a name, an id or its beginning; raise UserspaceError if none."""
    for record in running(state):
        if is_called(record, text):
            return record
    error = UserspaceError(f"no running container {text!r}", "it may have ended already")
    error.exit_code = 1
    raise error


def is_called(record: dict[str, Any], text: str) -> bool:
    """True for the name of a run, for its id or that of its container, or their beginning."""
    if record.get("name") == text:
        return True
    ids = (record["id"], record.get("container") or "")
    return len(text) >= 4 and any(identifier.startswith(text) for identifier in ids)


def is_alive(record: dict[str, Any]) -> bool:
    """True while the supervisor of a run on this host lives."""
    if record.get("boot", boot()) != boot():
        return False
    return start_time(record["pid"]) == str(record["start"])


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


def boot() -> str:
    """Which start of the host this is: nothing that ran before it runs now."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _bury(state: str, record: dict[str, Any]) -> None:
    """Nobody has said how it ended, so it was killed, or the host was."""
    said = ended.of(state, record.get("container") or record["id"])
    if not os.path.exists(_path(state, record["id"])):
        return  # it has ended by itself just now, and said so
    if record.get("kept") and (said is None or said.get("run") != record["id"]):
        crashed = record.get("boot") != boot()
        code = _CRASHED if crashed else _KILLED
        why = "the host was restarted" if crashed else "its supervisor was killed"
        has_ended(state, record, code, why)
    _tidy(record)
    unregister(state, record["id"])


def _tidy(record: dict[str, Any]) -> None:
    """Remove what a run had for itself alone, if its keeper was killed, too, or not started yet."""
    place = (record.get("launch") or {}).get("private")
    if place:
        from cwl_userspace.private import remove_private_directory

        try:
            remove_private_directory(place)
        except OSError:
            pass  # another of our processes is at it


def has_ended(state: str, record: dict[str, Any], code: int, why: str = "") -> None:
    """Write down how a run ended that is to be known, under the id that ``run -d`` has printed."""
    facts = {name: value for name, value in record.items() if name not in _OF_ITS_LIFE}
    facts |= {"run": record["id"], "why": why}
    identifier = record.get("container") or record["id"]
    ended.keep(state, identifier, record.get("name", ""), code, facts)


def _write(state: str, record: dict[str, Any]) -> None:
    """A reader sees all of it or nothing: it may have variables with secrets, so it is ours."""
    path = _path(state, record["id"])
    aside = f"{path}.part"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump(record, file)
    os.replace(aside, path)


def _path(state: str, identifier: str) -> str:
    return os.path.join(state, "runs", f"{identifier}.json")

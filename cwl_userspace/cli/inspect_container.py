"""What is known of a container, in the shape of Docker's JSON: created, running or ended."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.mounts import mount, volume
from cwl_userspace.cli.pslist import labels
from cwl_userspace.cli.subjects import RUNNING, Subject
from cwl_userspace.cli.words import Words
from cwl_userspace.errors import ImageError
from cwl_userspace.spec import Mount
from cwl_userspace.store import records

# Docker names these where an image says nothing of them, and callers look them up.
NO_CONFIG: dict[str, Any] = {
    "User": "",
    "Env": [],
    "Cmd": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "Labels": None,
    "ExposedPorts": None,
    "Volumes": None,
}
_NEVER = "0001-01-01T00:00:00Z"


def described(context: Context, subject: Subject) -> dict[str, Any]:
    """An object as ``docker inspect`` prints it; of a run without a name only what is known."""
    last = subject.running[-1] if subject.running else subject.ended or {}
    known = subject.words()
    words = Words.from_json(known) if known else Words()
    argv = [str(word) for word in last.get("argv", ())]
    made = subject.made
    created = made.created if made is not None else float(last.get("time") or last.get("ended", 0))
    network = words.value("network", "host")
    mounted = mounts(subject)
    return {
        "Id": subject.id,
        "Name": f"/{subject.shown}",
        "Created": _stamp(created),
        "Path": argv[0] if argv else "",
        "Args": argv[1:],
        "Image": made.image if made is not None else str(last.get("image", "")),
        "State": _state(subject, last),
        "Platform": "linux",
        "RestartCount": 0,
        "HostConfig": {
            "AutoRemove": words.flag("rm"),
            "Binds": [f"{m.source}:{m.target}{':ro' if m.read_only else ''}" for m in mounted],
            "Memory": int((last.get("limits") or {}).get("memory") or 0),
            "NetworkMode": network,
            "ReadonlyRootfs": words.flag("read-only"),
        },
        "Config": {
            **NO_CONFIG,
            **_config(context, subject, words),
            "Labels": labels(subject),
            "Tty": words.flag("tty"),
        },
        "Mounts": [
            {
                "Type": "bind",
                "Source": m.source,
                "Destination": m.target,
                "Mode": "ro" if m.read_only else "",
                "RW": not m.read_only,
                "Propagation": "rprivate",
            }
            for m in mounted
        ],
        "NetworkSettings": {
            "IPAddress": "",
            "Networks": {network: {"IPAddress": "", "Gateway": "", "MacAddress": ""}},
            "Ports": _ports(last.get("ports", ())),
        },
    }


def mounts(subject: Subject) -> list[Mount]:
    """What is mounted in a container: as create was told, and as it was last run."""
    known = subject.words()
    words = Words.from_json(known) if known else Words()
    made = subject.made.mounts if subject.made is not None else []
    last = subject.running[-1] if subject.running else subject.ended or {}
    place = str(last.get("cwd", ""))
    volumes = (volume(os.path.join(place, text), make=False) for text in words.list("volume"))
    return [*made, *map(mount, words.list("mount")), *volumes]


def _state(subject: Subject, last: Mapping[str, Any]) -> dict[str, Any]:
    running = subject.state == RUNNING
    over = subject.ended if not running else None
    began = last.get("time")
    return {
        "Status": subject.state,
        "Running": running,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "Dead": False,
        "Pid": int(last["pid"]) if running else 0,
        "ExitCode": int(over["code"]) if over else 0,
        "Error": str(over.get("why", "")) if over else "",
        "StartedAt": _stamp(float(began)) if began else _NEVER,
        "FinishedAt": _stamp(float(over["ended"])) if over else _NEVER,
    }


def _config(context: Context, subject: Subject, words: Words) -> dict[str, Any]:
    """How it is run: of what create made that is all in its record."""
    if subject.made is not None:
        made = subject.made
        return {**made.document, "Hostname": made.hostname, "Image": made.image_name}
    last = subject.running[-1] if subject.running else subject.ended or {}
    document: dict[str, Any] = {}
    try:
        identifier = str(last.get("image", "")).removeprefix("sha256:")
        document = records.by_id(context.store, identifier).document.get("config") or {}
    except ImageError:  # removed since
        pass
    name, *command = words.arguments or [""]
    variables = [text for text in words.list("env") if "=" in text]
    entrypoint = words.values.get("entrypoint")
    return {
        **document,
        "Image": name,
        "Hostname": words.value("hostname"),
        "Env": [*(document.get("Env") or ()), *variables],
        "Cmd": command or (document.get("Cmd") if entrypoint is None else None),
        "Entrypoint": document.get("Entrypoint") if entrypoint is None else [entrypoint],
        "WorkingDir": words.value("workdir") or document.get("WorkingDir", ""),
        "User": words.value("user") or document.get("User", ""),
    }


def _ports(published: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    """``127.0.0.1:8080->80/tcp`` as Docker has it."""
    found: dict[str, list[dict[str, str]]] = {}
    for text in published:
        outside, _, inside = text.partition("->")
        address, _, number = outside.rpartition(":")
        found.setdefault(inside, []).append({"HostIp": address, "HostPort": number})
    return found


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

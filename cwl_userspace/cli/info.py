"""``info``: what a container gets on this host, in the shape of Docker's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from cwl_userspace import __version__
from cwl_userspace.cli import subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.template import render
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.engines.choose import choose
from cwl_userspace.store import records

OPTIONS = (
    Option("-f --format", VALUE, "json, {{.DefaultRuntime}} and the like", "TEMPLATE"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Print what this host is; raise EngineError if no container can be run on it."""
    words = parse("info", OPTIONS, argv)
    if words.flag("help"):
        return show("info", "[--format TEMPLATE]", OPTIONS)
    tell(facts(context, __version__), words.value("format"))
    return 0


def facts(context: Context, version: str) -> dict[str, Any]:
    """What ``docker info`` says of a host; raise EngineError if no container can be run on it."""
    engine = choose(context.engine, context.settings, context.environ).name
    host = os.uname()
    known = subjects.every(context)
    up = sum(bool(subject.running) for subject in known)
    return {
        "ID": host.nodename,
        "Containers": len(known),
        "ContainersRunning": up,
        "ContainersPaused": 0,
        "ContainersStopped": len(known) - up,
        "Images": len(records.identifiers(context.store)),
        "ServerVersion": version,
        "Driver": "cwl-userspace",
        "DockerRootDir": context.store.path,
        "DefaultRuntime": engine,
        "SecurityOptions": ["name=rootless"],
        "OSType": "linux",
        "Architecture": host.machine,
        "KernelVersion": host.release,
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "Name": host.nodename,
    }


def tell(found: dict[str, Any], form: str) -> None:
    """Print facts by a template, or a line each."""
    print(render(form, found) if form else "\n".join(_lines(found)))


def _lines(found: dict[str, Any], indent: str = "") -> list[str]:
    lines: list[str] = []
    for key, value in found.items():
        nested = isinstance(value, dict)
        lines.append(f"{indent}{key}:" + ("" if nested else f" {value}"))
        lines += _lines(value, indent + "  ") if nested else []
    return lines

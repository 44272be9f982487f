"""``docker version`` and ``info``: which words are understood, and that there is an engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from cwl_userspace import __version__
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.template import render
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.engines.choose import choose
from cwl_userspace.oci import Platform

# The versions whose words these are: some callers compare them before they use an option.
SPOKEN = {"docker": "28.2.2", "podman": "4.9.3"}
_FORMAT = Option("-f --format", VALUE, "{{.Client.Version}} and the like; json", "TEMPLATE")


def version(context: Context, argv: Sequence[str]) -> int:
    """Print the version whose words are understood, and ours."""
    words = parse("version", (_FORMAT, Option("--short", FLAG, "")), argv)
    name = context.environ["CWL_USERSPACE_CALLER"]
    if words.flag("short"):
        build = f"Docker version {SPOKEN[name]}, build cwl-userspace-{__version__}"
        print(build if name == "docker" else f"{name} version {SPOKEN[name]}")
        return 0
    platform = Platform.host()
    side = {
        "Version": SPOKEN[name],
        "Os": platform.os,
        "Arch": platform.architecture,
        "GitCommit": f"cwl-userspace-{__version__}",
    }
    if words.value("format"):
        print(render(words.value("format"), {"Client": side, "Server": side}))
        return 0
    print(f"Client: cwl-userspace {__version__}")
    print("".join(f" {key + ':':<18} {value}\n" for key, value in side.items()), end="")
    return 0


def info(context: Context, argv: Sequence[str]) -> int:
    """Print what this host is; raise EngineError if no container can be run on it."""
    words = parse("info", (_FORMAT,), argv)
    name = context.environ["CWL_USERSPACE_CALLER"]
    engine = choose(context.engine, context.settings, context.environ).name
    facts = _docker(context, engine) if name == "docker" else _podman(context, engine)
    if words.value("format"):
        print(render(words.value("format"), facts))
    else:
        print("\n".join(_lines(facts)))
    return 0


def _docker(context: Context, engine: str) -> dict[str, Any]:
    host = os.uname()
    return {
        "ServerVersion": SPOKEN["docker"],
        "Driver": "cwl-userspace",
        "DockerRootDir": context.store.path,
        "DefaultRuntime": engine,
        "SecurityOptions": ["name=rootless"],
        "OSType": "linux",
        "Architecture": host.machine,
        "KernelVersion": host.release,
        "NCPU": os.cpu_count() or 1,
        "MemTotal": _memory(),
        "Name": host.nodename,
    }


def _podman(context: Context, engine: str) -> dict[str, Any]:
    host = os.uname()
    return {
        "host": {
            "os": "linux",
            "arch": Platform.host().architecture,
            "cpus": os.cpu_count() or 1,
            "memTotal": _memory(),
            "hostname": host.nodename,
            "kernel": host.release,
            "ociRuntime": {"name": engine},
            "security": {"rootless": True},
        },
        "store": {"graphDriverName": "cwl-userspace", "graphRoot": context.store.path},
        "version": {"Version": SPOKEN["podman"]},
    }


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    found: list[str] = []
    for key, value in facts.items():
        nested = isinstance(value, dict)
        found.append(f"{indent}{key}:" + ("" if nested else f" {value}"))
        found += _lines(value, indent + "  ") if nested else []
    return found

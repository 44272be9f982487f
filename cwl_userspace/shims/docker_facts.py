"""``docker version`` and ``info``: which words are understood, and that there is an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cwl_userspace import __version__
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.info import facts, tell
from cwl_userspace.cli.template import render
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
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
    found = facts(context, SPOKEN[name])
    tell(found if name == "docker" else _podman(found), words.value("format"))
    return 0


def _podman(found: dict[str, Any]) -> dict[str, Any]:
    """The same in podman's shape."""
    return {
        "host": {
            "os": "linux",
            "arch": Platform.host().architecture,
            "cpus": found["NCPU"],
            "memTotal": found["MemTotal"],
            "hostname": found["Name"],
            "kernel": found["KernelVersion"],
            "ociRuntime": {"name": found["DefaultRuntime"]},
            "security": {"rootless": True},
        },
        "store": {"graphDriverName": found["Driver"], "graphRoot": found["DockerRootDir"]},
        "version": {"Version": found["ServerVersion"]},
    }

"""The images that the conformance tests and the main job name, and how each is put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from conformance.busybox import alpine_entries, bash_entries
from conformance.debian import Progress, build_entries, grown_entries
from conformance.layer import Entry, symlink

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The official Python image puts its own python first.
_PYTHON_PATH = f"/usr/local/bin:{_SYSTEM_PATH}"

LayerMaker = Callable[[Progress], Iterable[Entry]]


@dataclass(frozen=True)
class Recipe:
    """One image; what its layers do not say is its runtime configuration, as the original's."""

    name: str
    layers: tuple[LayerMaker, ...]
    cmd: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=lambda: {"PATH": _SYSTEM_PATH})
    # Built only when it is named.
    on_demand: bool = False

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "Env": [f"{name}={value}" for name, value in self.env.items()],
            "Cmd": list(self.cmd),
        }
        if self.entrypoint:
            config["Entrypoint"] = list(self.entrypoint)
        return config


def _debian(*packages: str, folders: tuple[str, ...] = ()) -> LayerMaker:
    return lambda progress: build_entries(packages, progress, folders)


def _growing(*steps: tuple[str, ...]) -> tuple[LayerMaker, ...]:
    """The layers of a whole system that gets some packages at each step, made in this order."""
    there: dict[str, tuple[object, ...]] = {}

    def layer(number: int) -> LayerMaker:
        def make(progress: Progress) -> Iterator[Entry]:
            if number == 0:
                there.clear()
            yield from grown_entries(sum(steps[: number + 1], ()), progress, there)

        return make

    return tuple(map(layer, range(len(steps))))


def _python(progress: Progress) -> Iterator[Entry]:
    yield from build_entries(["python3"], progress)
    for name in ("python", "python3"):
        yield symlink(f"usr/local/bin/{name}", "/usr/bin/python3")


RECIPES = (
    Recipe(
        "docker.io/library/debian:stable-slim",
        layers=(_debian(),),
        cmd=("bash",),
    ),
    Recipe(
        "docker.io/library/python:3-slim",
        layers=(_python,),
        cmd=("python3",),
        env={"PATH": _PYTHON_PATH, "LANG": "C.UTF-8"},
    ),
    Recipe(
        "docker.io/library/alpine:latest",
        layers=(alpine_entries,),
        cmd=("/bin/sh",),
    ),
    Recipe(
        "docker.io/library/bash:4.4",
        layers=(alpine_entries, bash_entries),
        entrypoint=("docker-entrypoint.sh",),
        cmd=("bash",),
    ),
    Recipe(
        "docker.io/cwluserspace/khmer:1",
        layers=(_debian("khmer", "gnuplot-nox"),),
        cmd=("bash",),
        # Debian keeps khmer's scripts out of /usr/bin.
        env={"PATH": f"{_SYSTEM_PATH}:/usr/lib/khmer/bin"},
    ),
    Recipe(
        "docker.io/cwluserspace/bench:1",
        layers=(_debian("python3-numpy", "gcc", "libc6-dev", "samtools", "perl-base"),),
        cmd=("bash",),
        on_demand=True,
    ),
    # For conformance.benchmarks: as large as what people fetch; the second extends the first.
    Recipe(
        "docker.io/cwluserspace/whole:1",
        layers=_growing(()),
        cmd=("bash",),
        on_demand=True,
    ),
    Recipe(
        "docker.io/cwluserspace/bio:1",
        layers=_growing(
            (),
            ("khmer", "samtools", "bwa", "python3-numpy"),
            ("gcc", "g++", "libc6-dev", "make", "git", "perl"),
        ),
        cmd=("bash",),
        on_demand=True,
    ),
    # What cwltool's own tests name beside the first four (conformance/cwltool-tests).
    Recipe(
        "docker.io/library/ubuntu:latest",
        layers=(_debian(),),
        cmd=("bash",),
        on_demand=True,
    ),
    Recipe(
        "docker.io/library/node:alpine",
        layers=(_debian("nodejs"),),
        cmd=("node",),
        on_demand=True,
    ),
    Recipe(
        "docker.io/library/openjdk:9.0.1-11-slim",
        layers=(_debian("default-jdk-headless", folders=("usr/share/man/man1",)),),
        cmd=("bash",),
        on_demand=True,
    ),
)

# Names of the older suites, for images that can be had no more or that Debian has no part of:
# each is another name of one of the above.
STAND_INS = {
    "docker.io/library/debian:stretch-slim": "docker.io/library/debian:stable-slim",
    "docker.io/library/python:2-slim": "docker.io/library/python:3-slim",
    "docker.io/library/python:2.7.15-alpine3.7": "docker.io/library/python:3-slim",
    "docker.io/library/python:3": "docker.io/library/python:3-slim",
    "docker.io/library/bash:4.4.12": "docker.io/library/bash:4.4",
}

# What each suite names, as the suite writes it.
NEEDED = {
    "v1.0": ("debian:stretch-slim", "python:2-slim", "alpine", "bash:4.4.12"),
    "v1.1": (
        *("debian:stretch-slim", "python:2-slim", "python:2.7.15-alpine3.7", "python:3"),
        *("alpine", "bash:4.4.12"),
    ),
    "v1.2": ("debian:stable-slim", "python:3-slim", "alpine", "bash:4.4"),
}

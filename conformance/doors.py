"""The doors: by which CWL runner, and by which of its words, a document gets to cwl-userspace."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from conformance.problem import Problem

# The engine of a baseline, which does not run anything by us.
NO_ENGINE = "none"
ENGINES = ("auto", "userns", "proot")


class Place(NamedTuple):
    """Where one cell runs, for what a door makes before its first test."""

    engine: str
    # Folders: this one stays with the results, that one is removed when the cell has ended.
    output: Path
    scratch: Path
    # The variables that all doors have.
    environment: Mapping[str, str]
    # What has to end with the cell (a daemon that a door starts) is put in here.
    ending: contextlib.ExitStack


def _nothing_more(place: Place) -> Mapping[str, str]:
    return {}


def docker_first(place: Place) -> Mapping[str, str]:
    """A PATH on which the first `docker` and the first `podman` are ours."""
    return _ours_first(place, "docker", "podman")


def singularity_first(place: Place) -> Mapping[str, str]:
    """A PATH on which the first `singularity` is ours, and one folder for the images' files."""
    files = place.scratch / "image-files"
    files.mkdir(exist_ok=True)
    return {**_ours_first(place, "singularity"), "CWL_SINGULARITY_CACHE": str(files)}


def _ours_first(place: Place, *names: str) -> Mapping[str, str]:
    shims = place.output / "shims"
    words = [program("cwl-userspace"), "shim", *names, "--dir", str(shims)]
    made = subprocess.run(words, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise Problem(f"no executables in '{shims}': {made.stderr.strip()}")
    return {"PATH": f"{shims}{os.pathsep}{place.environment['PATH']}"}


class Door(NamedTuple):
    """A CWL runner and how it is led to us."""

    name: str
    # A program beside this Python, beside that of the environment below, or on PATH.
    runner: str
    # What it is told before the document; `{NAME}` becomes the path of our program of that name,
    # `{scratch}` and `{output}` the folders of the cell.
    words: tuple[str, ...] = ()
    # What it is told besides for tests that have a tag.
    tagged: Mapping[str, tuple[str, ...]] = {}
    # Variables beyond those that all doors have: a PATH with a shim first, say.
    environment: Callable[[Place], Mapping[str, str]] = _nothing_more
    # Whether this runner tells us, through this door, that a tool may not have the network.
    networks: bool = True
    # The variable that names a virtual environment of the runner's own, such as Toil's.
    home: str = ""
    # Programs of the host that are needed: cwltool evaluates JavaScript outside of all containers.
    needs: tuple[str, ...] = ("node",)
    # Variables without which it is left out: what names the cluster, say.
    named_by: tuple[str, ...] = ()
    # Whether it runs no tool by us: what the runner itself can do here, to compare with.
    baseline: bool = False

    def engines(self, wanted: tuple[str, ...] = ENGINES) -> tuple[str, ...]:
        """With which of these engines there is a cell of this door."""
        return (NO_ENGINE,) if self.baseline else wanted

    def program(self) -> str:
        """Where its runner is; raises a Problem that says where it was looked for."""
        if not self.home:
            return program(self.runner)
        home = os.environ.get(self.home)
        found = Path(home or "", "bin", self.runner)
        if not home or not os.access(found, os.X_OK):
            raise Problem(
                f"there is no '{self.runner}' in the environment '{home or ''}' for the door"
                f" '{self.name}'",
                f"set {self.home} to a virtual environment with '{self.runner}' and cwl-userspace",
            )
        return str(found)

    def lacking(self) -> str:
        """Why it cannot be used here; nothing if it can, as far as one sees without trying."""
        missing = [one for one in self.needs if not shutil.which(one)]
        if missing:
            return f"not found on PATH: {', '.join(missing)}"
        unset = [one for one in self.named_by if not os.environ.get(one)]
        if unset:
            return f"not set: {', '.join(unset)}"
        try:
            self.program()
        except Problem as problem:
            return str(problem)
        return ""

    def command(self, place: Place) -> list[str]:
        """The runner and its words."""
        ours = Programs(scratch=str(place.scratch), output=str(place.output))
        return [self.program(), *(word.format_map(ours) for word in self.words)]


class Programs(dict[str, str]):
    """The names that a door's words may have between braces."""

    def __missing__(self, name: str) -> str:
        return program(name)


def program(name: str) -> str:
    """A command of the environment that this Python belongs to, else one on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if not found:
        raise Problem(
            f"'{name}' is neither beside '{sys.executable}' nor on PATH",
            "install cwl-userspace with cwltool and cwltest in one virtual environment",
        )
    return found


# The words that Toil's own CI gives it, with two changes. Nothing is tried again: that would hide
# what fails now and then. Processors are scaled, or a test that asks for eight fails on this host
# before anything runs.
_TOIL_WORDS = (
    "--clean=always",
    "--retryCount=0",
    "--eval-timeout=600",
    "--scale=0.1",
)
# Without this Toil has no InplaceUpdateRequirement; with it steps share the places of outputs, and
# those of one name overwrite each other.
_TOIL_TAGGED = {"inplace_update": ("--bypass-file-store",)}
# Names the environment of Toil's own: it pins most of what it needs.
_TOIL_HOME = "CWL_USERSPACE_TOIL"
# Given the runner's name first.
_SLURM_TOIL = str(Path(__file__).parent / "slurm" / "toil")


def _for_toil(place: Place) -> Mapping[str, str]:
    """Its workers are looked for on PATH. It is to keep no database of all runs in a home."""
    home = os.environ.get(_TOIL_HOME, "")
    path = os.pathsep.join([*([f"{home}/bin"] if home else []), place.environment["PATH"]])
    return {"PATH": path, "TOIL_HISTORY": "False"}


def _docker_for_toil(place: Place) -> Mapping[str, str]:
    return _with_toil(place, docker_first)


def _singularity_for_toil(place: Place) -> Mapping[str, str]:
    return _with_toil(place, singularity_first)


def _with_toil(place: Place, more: Callable[[Place], Mapping[str, str]]) -> Mapping[str, str]:
    toil = _for_toil(place)
    return {**toil, **more(place._replace(environment={**place.environment, **toil}))}


def _toil(
    name: str,
    *words: str,
    runner: str = "toil-cwl-runner",
    environment: Callable[[Place], Mapping[str, str]] = _for_toil,
    networks: bool = True,
    baseline: bool = False,
) -> Door:
    """A door of Toil's."""
    all_words = (*_TOIL_WORDS, *words)
    return Door(
        name,
        runner,
        all_words,
        _TOIL_TAGGED,
        environment,
        networks,
        home=_TOIL_HOME,
        baseline=baseline,
    )


def _slurm_toil(name: str, runner: str, *words: str, networks: bool = True) -> Door:
    """A runner of Toil's that gives its jobs to the cluster that SLURM_CONF names."""
    return _toil(name, runner=_SLURM_TOIL, networks=networks)._replace(
        words=(runner, *_TOIL_WORDS, *words),
        needs=("node", "sbatch"),
        named_by=("SLURM_CONF",),
    )


_ALL = (
    Door("extension", "cwltool-userspace"),
    Door(
        "user-space",
        "cwltool",
        words=("--user-space-docker-cmd={cwl-userspace}",),
        networks=False,
    ),
    Door("docker", "cwltool", environment=docker_first),
    Door("singularity", "cwltool", words=("--singularity",), environment=singularity_first),
    # The environment goes along: srun and sbatch give a job all of it, unless told otherwise.
    Door(
        "slurm-srun",
        "srun",
        words=("--ntasks=1", "--cpus-per-task=1", "--quiet", "{cwltool-userspace}"),
        needs=("node", "srun"),
        named_by=("SLURM_CONF",),
    ),
    _slurm_toil("slurm-toil-userspace", "toil-cwl-userspace"),
    _slurm_toil(
        "slurm-toil", "toil-cwl-runner", "--user-space-docker-cmd={cwl-userspace}", networks=False
    ),
    _toil("toil-userspace", runner="toil-cwl-userspace"),
    _toil("toil-user-space", "--user-space-docker-cmd={cwl-userspace}", networks=False),
    _toil("toil-docker", environment=_docker_for_toil),
    _toil("toil-singularity", "--singularity", environment=_singularity_for_toil),
    _toil("toil-no-container", "--no-container", networks=False, baseline=True),
    Door("no-container", "cwltool", words=("--no-container",), networks=False, baseline=True),
)

# In the order of the matrix.
DOORS = {door.name: door for door in _ALL}

"""Where the files of a container are for a process outside of it, whether it runs or not."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from cwl_userspace import containers, runs
from cwl_userspace.cli.context import Context
from cwl_userspace.containers import Container
from cwl_userspace.errors import ContainerNotFound, UserspaceError
from cwl_userspace.image.confine import split
from cwl_userspace.memory import below
from cwl_userspace.spec import Mount
from cwl_userspace.transfer.place import failure


class Seen(NamedTuple):
    """A root that can be opened, and the mounts of a container that are not to be seen in it.

    ``stored`` is true for a tree in the store, where modes may keep the owner of files out.
    """

    root: str
    mounts: list[Mount]
    stored: bool

    def at(self, path: str) -> tuple[str, str, bool]:
        """The root that a path is below, the path there, and whether it is read-only."""
        steps = split(os.fsencode(path))
        best: tuple[int, Mount | None] = (0, None)
        for mount in self.mounts:
            target = split(os.fsencode(mount.target))
            if len(target) >= best[0] and steps[: len(target)] == target:
                best = (len(target), mount)
        length, found = best
        if found is None:
            return self.root, path, False
        if not os.path.isdir(found.source):
            folder, name = os.path.split(found.source)
            return folder, name, found.read_only
        return found.source, os.fsdecode(b"/".join(steps[length:])), found.read_only


def seen(context: Context, text: str) -> Seen:
    """How to reach the files of a container, found by its name, its id or the beginning of that.

    Raise ContainerNotFound if there is none, UserspaceError if its files cannot be reached.
    """
    run = _running(context, text)
    created = _created(context, text, run)
    if run is None and created is None:
        raise failure(f"no container {text!r}", "see cwl-userspace ps -a")
    if run is None and created is not None:
        run = next(iter(runs.using(context.settings.state, created.id)), None)
    if run is not None and (root := own_root(run["pid"])):
        return Seen(root, [], False)
    if created is not None:
        return Seen(created.rootfs(context.store), created.mounts, True)
    engine = run["engine"] if run is not None else ""
    raise failure(
        f"the files of the container {text!r} cannot be reached: its engine, {engine}, "
        "gives it no root of its own",
        "have a directory in common with --volume, or use a container that create has made",
    )


def _created(context: Context, text: str, run: dict[str, Any] | None) -> Container | None:
    """What ``create`` made of that name, or what runs under it is a run of."""
    by_name = not context.called_by_engine
    if run is not None:
        text, by_name = run.get("container") or "", False
    try:
        return containers.find(context.store, text, by_name)
    except ContainerNotFound:
        return None


def own_root(supervisor: int) -> str:
    """A path that leads to the root of a running container; empty if it has the host's."""
    ours = _identity("/")
    for pid in below(supervisor):
        path = f"/proc/{pid}/root"
        found = _identity(f"{path}/.")
        if found and found != ours:
            return path
    return ""


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _running(context: Context, text: str) -> dict[str, Any] | None:
    try:
        return runs.find(context.settings.state, text)
    except UserspaceError:
        return None

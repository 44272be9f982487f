"""Where the files of a container are for a process outside of it, whether it runs or not."""

from __future__ import annotations

import os
import posixpath
from typing import Any, NamedTuple

from cwl_userspace.cli import subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.inspect_container import mounts
from cwl_userspace.cli.subjects import Subject, failure
from cwl_userspace.engines.joining import binds
from cwl_userspace.engines.view import View
from cwl_userspace.errors import ContainerNotFound
from cwl_userspace.memory import below
from cwl_userspace.spec import Mount


class Seen(NamedTuple):
    """A root that can be opened, and the mounts of a container that are not to be seen in it.

    ``stored`` is true for a tree in the store, where modes may keep the owner of files out;
    ``read_only`` for one that is not the container's own.
    """

    root: str
    mounts: list[Mount]
    stored: bool
    read_only: bool = False

    def at(self, path: str, follow: bool) -> tuple[str, str, bool]:
        """The root that a path is below, the path there, and whether it is read-only.

        A link that leads to a mount is followed here, the last step of a path only if so asked.
        """
        if not self.mounts:
            return self.root, path, self.read_only
        view = View(self.root)
        targets = [_bound(view, mount) for mount in self.mounts]
        head, name = posixpath.split(posixpath.normpath(f"/{path}"))
        place = posixpath.join(view.resolve(head), name)
        place = view.resolve(place) if follow else place
        best, length = None, 0
        for mount, target in zip(self.mounts, targets, strict=True):
            if len(target) >= length and f"{place}/".startswith(f"{target}/"):
                best, length = mount, len(target)
        if best is None:
            return self.root, place, self.read_only
        if not os.path.isdir(best.source):
            folder, name = os.path.split(best.source)
            return folder, name, best.read_only
        return best.source, place[length:], best.read_only


def _bound(view: View, mount: Mount) -> str:
    """Have a mount in a view; where it really is, without a slash at the end."""
    target = view.resolve(mount.target)
    view.bind(target, mount.source, os.path.isdir(mount.source))
    return target.rstrip("/")


def seen(context: Context, text: str) -> Seen:
    """How to reach the files of a container, found by its name, its id or the beginning of that.

    Raise ContainerNotFound if there is none, UserspaceError if its files cannot be reached.
    """
    try:
        subject = subjects.find(context, text)
    except ContainerNotFound as error:
        error.exit_code = 1
        raise
    run = subject.running[-1] if subject.running else None
    if run is not None and subjects.is_away(run):
        raise failure(f"the container {text!r} runs on {run['host']}", "copy there")
    if run is not None and (root := own_root(run["pid"])):
        return Seen(root, [], False)
    if subject.made is not None:
        return Seen(subject.made.rootfs(context.store), mounts(subject), True)
    if run is None:
        raise failure(
            f"the container {text!r} has ended, and its files with it",
            "have a directory in common with --volume, or use a container that create has made",
        )
    if run.get("launch", {}).get("engine") == "proot":
        return _below_proot(subject, run["launch"])
    raise failure(
        f"the files of the container {text!r} cannot be reached: its engine, {run['engine']}, "
        "gives it no root of its own",
        "have a directory in common with --volume, or use a container that create has made",
    )


def _below_proot(subject: Subject, launch: dict[str, Any]) -> Seen:
    """What proot shows. Of the image's tree, which is all containers', nothing may be written:
    only what the run was given, and what was made for it alone.
    """
    root, places = binds(launch)
    given = {mount.source for mount in mounts(subject) if not mount.read_only}
    shown = [
        Mount(source, target, not (source in given or _is_below(source, launch["private"])))
        for source, target in places
    ]
    return Seen(root, shown, True, not _is_below(root, launch["private"]))


def _is_below(path: str, directory: str) -> bool:
    return bool(directory) and path.startswith(f"{directory}/")


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

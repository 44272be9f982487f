"""The two stages of debootstrap, each in a container whose root is emulated.

The first fetches and unpacks with programs of this host; the second sets up with those of the new
system itself, in it. No program runs as a root who has rights, and none changes its root: that no
engine has to allow.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from cwl_userspace.bootstrap import hostroot
from cwl_userspace.bootstrap.archive import FILE, Origin
from cwl_userspace.bootstrap.tool import Tool
from cwl_userspace.build.running import Command, Runner
from cwl_userspace.errors import ImageError
from cwl_userspace.image.confine import Missing, Root, children, remove, split
from cwl_userspace.spec import Mount

_TARGET = "/mnt"
_TOOLS = "/tmp/debootstrap"
# Asks whether it is in a container, and if so makes no device to see whether it can.
_CONTAINER = "lxc"
_SETTINGS = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "container": _CONTAINER}
# What is needed no more once all is set up.
_LEFTOVERS = (b"var/cache/apt/archives", b"var/lib/apt/lists", b"debootstrap")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Wanted(NamedTuple):
    """A system: the suite, where its packages are, and which of them."""

    suite: str
    origin: Origin
    variant: str
    include: Sequence[str]
    components: Sequence[str]
    architecture: str
    check_signatures: bool


def bootstrap(tool: Tool, wanted: Wanted, runner: Runner, private: str) -> str:
    """Make a system in a private directory; the path of its tree. Raise ImageError if it fails."""
    # Neither in the other's directory: while a container is made, it covers that of its tree.
    host, tree = (os.path.join(private, name, "rootfs") for name in ("host", "new"))
    os.makedirs(host)
    os.makedirs(tree)
    os.chmod(tree, 0o755)
    hostroot.make(host)
    words = [f"{_TOOLS}/program", "--foreign", *_options(tool, wanted)]
    shown = [
        *hostroot.mounts(),
        Mount(tree, _TARGET),
        Mount(tool.directory, f"{_TOOLS}/share", read_only=True),
        Mount(os.path.realpath(tool.program), f"{_TOOLS}/program", read_only=True),
    ]
    shown += [Mount(path, path, read_only=True) for path in _files_shown(wanted)]
    settings = {**_SETTINGS, "DEBOOTSTRAP_DIR": f"{_TOOLS}/share"}
    _stage(runner, Command(words, settings, shown, network_off=False), host, "unpacked")
    _accounts(tree)
    second = ["/debootstrap/debootstrap", "--second-stage"]
    _stage(runner, Command(second, _SETTINGS, (), network_off=True), tree, "set up")
    _clean(tree)
    return tree


def _accounts(tree: str) -> None:
    """Have the accounts that base-passwd would make first of all.

    Without them the container would be shown others, over which it could not make its own.
    """
    with _directory(tree, b"usr/share/base-passwd") as source, _directory(tree, b"etc") as target:
        if source is None or target is None:
            raise ImageError(
                "the packages that were unpacked have no base-passwd",
                "expected Debian's, or those of a system that is made of it",
            )
        for name in ("passwd", "group"):
            try:
                new = os.open(name, _NEW, 0o644, dir_fd=target)
            except FileExistsError:
                continue
            with open(new, "wb") as file:
                known = os.open(f"{name}.master", _PLAIN, dir_fd=source)
                with open(known, "rb") as accounts:
                    shutil.copyfileobj(accounts, file)
            os.chmod(name, 0o644, dir_fd=target)


def _options(tool: Tool, wanted: Wanted) -> Iterator[str]:
    yield f"--variant={wanted.variant}"
    if wanted.include:
        yield f"--include={','.join(wanted.include)}"
    components = wanted.components or wanted.origin.components
    if components:
        yield f"--components={','.join(components)}"
    if wanted.architecture:
        yield f"--arch={wanted.architecture}"
    if not wanted.check_signatures:
        yield "--no-check-gpg"
    else:
        yield "--force-check-gpg"
        if wanted.origin.signed_by:
            yield f"--keyring={wanted.origin.signed_by}"
    yield from (wanted.suite, _TARGET, wanted.origin.uri)
    if not os.path.exists(os.path.join(tool.directory, "scripts", wanted.suite)):
        yield f"{_TOOLS}/share/scripts/sid"


def _files_shown(wanted: Wanted) -> Iterator[str]:
    """What the archive needs of this host beside its programs: a directory, or a key ring."""
    if wanted.origin.uri.startswith(FILE):
        yield wanted.origin.uri.removeprefix(FILE)
    if wanted.origin.signed_by and not wanted.origin.signed_by.startswith("/usr/"):
        yield wanted.origin.signed_by


def _stage(runner: Runner, command: Command, rootfs: str, what: str) -> None:
    spec = runner.spec(command, {"User": "root", "WorkingDir": "/"}, rootfs)
    code = runner.run(spec)
    if code:
        raise ImageError(
            f"the packages cannot be {what}: debootstrap ended with {code}",
            "what it says is above",
        )


def _clean(tree: str) -> None:
    """Empty the directories that are needed no more."""
    for name in _LEFTOVERS:
        with _directory(tree, name) as place:
            if place is None:
                continue
            for child, _ in children(place):
                remove(child, place)


@contextmanager
def _directory(tree: str, name: bytes) -> Iterator[int | None]:
    """An open directory of the new system; None if it is not there.

    Its packages have put there what they wanted, so no link in it may lead to the host.
    """
    root = Root(tree)
    try:
        walked = root.open_directory(split(name), None)
    except Missing:
        yield None
        return
    finally:
        root.close()
    try:
        place = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=walked.fd)
    finally:
        walked.close()
    try:
        yield place
    finally:
        os.close(place)

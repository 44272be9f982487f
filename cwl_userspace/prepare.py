"""Make what a launch needs beforehand: its private directory, and room for its mount points."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


def execute(operations: Sequence[Sequence[Any]]) -> None:
    """Do each operation in order; raise OSError at the first that fails."""
    for word, *arguments in operations:
        OPERATIONS[word](*arguments)


def make_directory(path: str, mode: int) -> None:
    """A directory with all above it; one that is there stays as it is."""
    if not os.path.isdir(path):
        os.makedirs(path, mode, exist_ok=True)  # at no moment with more rights than that
        os.chmod(path, mode)


def share_directory(path: str) -> None:
    """A directory that everybody can write, made if there is none."""
    os.makedirs(path, exist_ok=True)
    if os.stat(path).st_mode & 0o1777 != 0o1777:
        os.chmod(path, 0o1777)


def make_real_directory(path: str) -> None:
    """A directory that is no link: what else is there is replaced."""
    if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
        os.unlink(path)
    make_directory(path, 0o755)


def make_link(path: str, target: str) -> None:
    """A symbolic link."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(target, path)


def make_file(path: str, text: str) -> None:
    """A small file that everybody can read."""
    _write(path, text.encode("utf-8", "surrogateescape"), 0o644)


def make_room(path: str) -> None:
    """An empty file to mount upon, unless there is something already."""
    if not os.path.lexists(path):
        _write(path, b"", 0o644)


def make_status_shim(path: str, machine: str) -> None:
    """The program that starts the container's program, and tells how that ended."""
    from cwl_userspace.engines.status import status_program
    from cwl_userspace.script import BLOCK, REPORT

    _write(path, status_program(machine, REPORT, BLOCK), 0o755)


def make_locator(path: str, machine: str, socket: int) -> None:
    """The program that opens paths for the keeper, with the number of its socket."""
    from cwl_userspace.engines.locator import locator_program

    _write(path, locator_program(machine, socket), 0o755)


def make_loader(path: str, proot: str) -> None:
    """The loader that a proot carries inside, as a file; nothing where it carries none."""
    from cwl_userspace.engines.proot_loader import loaders

    with open(proot, "rb") as file:
        found = loaders(file.read())
    for name, content in found.items():
        _write(path + name.removeprefix("PROOT_LOADER").lower(), content, 0o755)


def move_away(path: str, aside: str) -> None:
    """Have nothing at a path; what was there is kept aside, on the same file system."""
    if os.path.lexists(path):
        os.makedirs(os.path.dirname(aside), exist_ok=True)
        os.rename(path, aside)


def set_mode(path: str, mode: int) -> None:
    """The mode of a directory of ours."""
    os.chmod(path, mode)


def anchor_links(root: str) -> None:
    """Have the links of a private tree stay in it."""
    from cwl_userspace.anchor import anchor_links as anchor

    anchor(root)


def copy_tree(source: str, target: str) -> None:
    """A private copy of a tree, sharing the disk's blocks where the file system can."""
    from cwl_userspace.store.copy import copy_tree as copy

    copy(source, target)


def _write(path: str, data: bytes, mode: int) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        while data:
            data = data[os.write(fd, data) :]
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


OPERATIONS: dict[str, Callable[..., None]] = {
    "make_directory": make_directory,
    "share_directory": share_directory,
    "make_real_directory": make_real_directory,
    "make_link": make_link,
    "make_file": make_file,
    "make_room": make_room,
    "make_status_shim": make_status_shim,
    "make_locator": make_locator,
    "make_loader": make_loader,
    "copy_tree": copy_tree,
    "anchor_links": anchor_links,
    "move_away": move_away,
    "set_mode": set_mode,
}

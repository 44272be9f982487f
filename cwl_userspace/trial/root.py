"""The root of a trial: a small tree with this interpreter in it, and nothing else of the host.

A user's host has no image to try an engine with, so one is put together from what must be there:
the interpreter that runs us, the libraries that it has loaded, and a few of its modules.
"""

from __future__ import annotations

import ast
import os
import shutil
import sys
from typing import Any

from cwl_userspace.engines.lookup import loader
from cwl_userspace.errors import UserspaceError

_PATIENCE = 40
_HEADER = 4096
PASSWD = "root:x:0:0:root:/root:/bin/sh\ntool:x:1234:1234:a tool:/:/bin/sh\n"
GROUP = "root:x:0:\ntool:x:1234:\n"
# What the tree has besides the interpreter; a trial tries to change all of it.
DIRECTORIES = ("data/inner", "dev", "etc", "home", "proc", "root", "tmp", "usr", "var/tmp")
FILES = {
    "data/file": "of the image",
    "data/other": "of the image, too",
    "data/inner/file": "further below",
    "etc/passwd": PASSWD,
    "etc/group": GROUP,
}
# Where modules of ours are found, and how the program is called.
_MODULES = "/usr/trial"
_OURS = ("inside.py", "changes.py")
_PROGRAM = "from cwl_userspace.trial.inside import main; main()"


class CannotTry(UserspaceError):
    """There is no way to try an engine on this host."""


class Root:
    """A tree that can be a container's root, and how its interpreter is called."""

    __slots__ = ("command", "environment", "path")

    def __init__(self, path: str, command: list[str], environment: dict[str, str]) -> None:
        self.path = path
        self.command = command
        self.environment = environment


def build(path: str, secret: str) -> Root:
    """Make the tree at ``path``; two links in it lead to the host's file ``secret``.

    Raise CannotTry where there is no interpreter that could be copied, OSError where nothing can
    be written.
    """
    os.makedirs(path, mode=0o755)
    for name in DIRECTORIES:
        os.makedirs(os.path.join(path, name), mode=0o755, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        os.chmod(os.path.join(path, name), 0o1777)
    for name, text in FILES.items():
        with open(os.path.join(path, name), "w", encoding="ascii") as file:
            file.write(text)
    os.symlink("file", os.path.join(path, "data/link"))
    os.symlink(secret, os.path.join(path, "escape"))
    os.symlink("../../../../../../../.." + secret, os.path.join(path, "up"))
    _copy_modules(path + _MODULES)
    needed = _ask_interpreter(path + _MODULES)
    for name in _with_loader(needed["executable"], needed["files"]):
        if not name.startswith(path):  # of those we have our own
            _copy(name, path)
    environment = {"PATH": "/bin", "PYTHONHOME": needed["home"], "PYTHONPATH": _MODULES}
    if os.environ.get("LD_LIBRARY_PATH"):  # the interpreter may not start without
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return Root(path, [needed["executable"], "-S", "-B", "-c", _PROGRAM], environment)


def _copy_modules(path: str) -> None:
    """The modules of ours that the program consists of, in packages that are empty otherwise."""
    package = os.path.join(path, "cwl_userspace/trial")
    os.makedirs(package)
    for directory in (package, os.path.dirname(package)):
        with open(os.path.join(directory, "__init__.py"), "w", encoding="ascii"):
            pass
    for name in _OURS:
        shutil.copyfile(os.path.join(os.path.dirname(__file__), name), f"{package}/{name}")


def _ask_interpreter(modules: str) -> dict[str, Any]:
    """What the trial's program needs, as it says itself when it is run on this host."""
    if not sys.executable:
        raise CannotTry("cannot try: this interpreter does not know its own file")
    read_end, write_end = os.pipe()
    command = [sys.executable, "-S", "-B", "-c", _PROGRAM]
    environment = {**os.environ, "PYTHONPATH": modules}
    actions = [(os.POSIX_SPAWN_DUP2, write_end, 1)]
    pid = os.posix_spawn(sys.executable, command, environment, file_actions=actions)
    os.close(write_end)
    with open(read_end, encoding="utf-8", errors="surrogateescape") as file:
        said = file.read()
    os.waitpid(pid, 0)
    try:
        needed: dict[str, Any] = ast.literal_eval(said)
    except (ValueError, SyntaxError):
        raise CannotTry(f"cannot try: {sys.executable} does not run by itself") from None
    return needed


def _with_loader(executable: str, files: list[str]) -> list[str]:
    """The files, the executable, what loads it, and the loader's table of libraries."""
    with open(executable, "rb") as file:
        found = [os.fsdecode(name) for name in loader(file.read(_HEADER))]
    return [executable, *found, "/etc/ld.so.cache", *files]


def _copy(path: str, root: str) -> None:
    """Have a file of the host in the root at its place, and all links that lead to it there."""
    real = os.path.realpath(path)
    _links_on_the_way(path, root)
    target = root + real
    if os.path.isfile(real) and not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        shutil.copyfile(real, target)
        os.chmod(target, 0o755)
        if ".so" in real:
            _other_names(real, root)


def _links_on_the_way(path: str, root: str, limit: int = 40) -> None:
    """Make each link that a path goes through, as it is on the host."""
    here = "/"
    for part in path.strip("/").split("/"):
        here = os.path.join(here, part)
        if os.path.islink(here) and limit:
            text = os.readlink(here)
            above = os.path.realpath(os.path.dirname(here))
            _make_link(root + os.path.join(above, os.path.basename(here)), text)
            rest = path[len(here) :]
            _links_on_the_way(os.path.join(above, text) + rest, root, limit - 1)
            return


def _other_names(library: str, root: str) -> None:
    """The links beside a library that lead to it: programs name it by one of them."""
    directory, name = os.path.split(library)
    stem = name.partition(".so")[0]
    for other in os.listdir(directory):
        path = os.path.join(directory, other)
        if other.startswith(stem) and os.path.islink(path) and os.path.realpath(path) == library:
            _make_link(root + path, os.readlink(path))


def _make_link(path: str, target: str) -> None:
    if not os.path.lexists(path):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        os.symlink(target, path)

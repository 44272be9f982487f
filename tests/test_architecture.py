"""Arrows point one way: which room may import which, and who may use what from outside."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cwl_userspace

PACKAGE = Path(cwl_userspace.__file__).parent
NAME = "cwl_userspace"

# Each room and the rooms below it that it may use. A room is a folder, or the modules named here.
ROOMS = {
    "version": {"__init__"},
    "values": {"errors", "digest", "reference", "oci", "spec"},
    "kernel": {"kernel"},
    "settings": {"settings", "settings_file"},
    "image": {"image"},
    "store": {"store"},
    "plan": {"plan", "accounts", "gpus"},
    "hostfacts": {"hostfacts", "gpufacts", "ldcache"},
    "inside": {"nsinit", "nsroot", "nsplaces", "nsidentity", "nsjoin", "subids", "inroot", "keeper",
               "lineage", "guard", "shimwatch", "script"},
    "engines": {"engines"},
    "records": {"log", "runs", "ended", "journal", "private"},
    "forward": {"forward"},
    "tools": {"tools"},
    "containers": {"containers", "aliases", "marks", "outside", "asroot", "localtree", "transfer",
                   "trees", "ownedtree", "mountpoints"},
    "process": {"process", "forked", "staging", "supervise", "prepare", "anchor", "stdin",
                "terminal", "replay", "limits", "cgroups", "scope", "memory", "processors"},
    "trial": {"trial"},
    "build": {"build"},
    "bootstrap": {"bootstrap"},
    "cli": {"cli", "__main__"},
    "shims": {"shims"},
    "server": {"launchserver"},
    "cwl": {"cwl"},
}  # fmt: skip
MAY_USE = {
    "version": set(),
    "values": set(),
    "kernel": set(),
    "settings": {"values"},
    "image": {"values", "version"},
    "store": {"values", "image", "kernel"},
    "plan": {"values"},
    "hostfacts": {"plan", "image"},
    "inside": {"kernel"},
    "engines": {"values", "kernel", "settings", "inside"},
    "records": {"values", "image"},
    "forward": {"values", "kernel"},
    "tools": {"values", "image", "store"},
    "containers": {"values", "kernel", "image", "inside", "store"},
    "process": {"values", "kernel", "inside", "engines", "image", "store", "records"},
    "trial": {"values", "inside", "engines", "image", "plan", "hostfacts", "records", "process"},
    "build": {
        "values",
        "image",
        "store",
        "kernel",
        "plan",
        "hostfacts",
        "engines",
        "records",
        "containers",
        "process",
    },
    # Its stages are run as steps of a build are.
    "bootstrap": {"values", "image", "store", "build"},
    "cli": set(ROOMS) - {"cwl", "cli", "shims", "server"},
    "shims": set(ROOMS) - {"cwl", "shims", "server"},
    # It becomes the command line in a forked child, and is met across a process boundary.
    "server": {"kernel", "process", "cli"},
    # The files that a document names become images here, so that errors have the document's line.
    "cwl": {"values", "settings", "engines", "image", "store"},
}
# Modules from outside that only some of ours may import.
GUARDED = {
    # One place talks http; others name what it raises.
    "http.client": {"image/connections.py", "image/transport.py", "image/neterrors.py"},
    "requests": set(),
    "cwltool": {"cwl/"},
    # Not installed for most users: what cwltool's extension shares must do without it.
    "toil": {"cwl/toil.py", "cwl/toil_tool.py"},
    "dockerfile_parse": {"build/dockerfile.py"},
    "subprocess": {"engines/proot_probe.py", "engines/fakechroot_probe.py", "engines/trial.py",
                   "image/credhelper.py",
                   # Starts the other process of prefetch, which alone imports cwltool.
                   "cli/documents.py",
                   # The format is squashfs-tools' own.
                   "image/squashfs.py",
                   # apt-get and dpkg-deb fetch and unpack a package, and check who signed it.
                   "bootstrap/tool.py",
                   # cwl_utils wants the process of its expressions as a Popen; cwltool raises
                   # CalledProcessError where an image cannot be had. One starts the server of
                   # launches; the other takes the place of subprocess in cwltool, and so has its
                   # names.
                   "cwl/javascript.py", "cwl/tool.py", "cwl/launcher.py", "cwl/starting.py"},
    "ctypes": {"kernel/syscalls.py"},
    "tarfile": set(),
    "argparse": {"cwl/"},
}  # fmt: skip
# Lines of a module, and those that may have more: docs/architecture.rst says why.
LONGEST = 300
LONGER: tuple[str, ...] = ()
# What the run of a cached image must not import: each would cost more than the container.
HEAVY = (
    "argparse", "dataclasses", "typing", "subprocess", "pathlib", "ruamel", "requests", "cwltool",
    "http", "signal", "tarfile", "hashlib", "logging", "inspect", "shutil", "tempfile",
    "contextlib",
)  # fmt: skip


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def place(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def room_of(parts: tuple[str, ...]) -> str:
    head = parts[0].removesuffix(".py")
    return next(room for room, members in ROOMS.items() if head in members)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or in a function, by its full name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(name: str) -> tuple[str, ...] | None:
    """The parts of a name of ours below the package, as far as there is a file or folder."""
    parts = tuple(name.split("."))
    if parts[0] != NAME:
        return None
    below = parts[1:2]
    if not below or not any((PACKAGE / (below[0] + end)).exists() for end in ("", ".py")):
        return ("__init__",)
    return below


def test_rooms_form_no_circle() -> None:
    below: dict[str, set[str]] = {}
    for room in ROOMS:  # they are listed from the ground up
        assert MAY_USE[room] <= set(below) | {"version"}, room
        below[room] = MAY_USE[room]


def test_every_module_belongs_to_a_room() -> None:
    assert {room_of(path.relative_to(PACKAGE).parts) for path in modules()} <= set(ROOMS)


@pytest.mark.parametrize("path", modules(), ids=place)
def test_a_module_imports_only_from_rooms_below_its_own(path: Path) -> None:
    room = room_of(path.relative_to(PACKAGE).parts)
    used = {room_of(parts) for name in imports(path) if (parts := ours(name))}
    assert used - {room, "version"} <= MAY_USE[room]


@pytest.mark.parametrize("outside", GUARDED)
def test_only_the_named_modules_import(outside: str) -> None:
    users = {
        place(path)
        for path in modules()
        if any(name == outside or name.startswith(f"{outside}.") for name in imports(path))
    }
    assert all(any(user.startswith(allowed) for allowed in GUARDED[outside]) for user in users)


def test_only_the_command_line_prints() -> None:
    printing = {
        place(path)
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    }
    assert all(user.startswith(("cli/", "shims/")) for user in printing)


def test_no_module_is_longer_than_its_subject() -> None:
    lengths = {place(path): len(path.read_text().splitlines()) for path in modules()}
    assert {name for name, length in lengths.items() if length > LONGEST} == set(LONGER)


def test_the_architecture_page_gives_the_reason_of_each_longer_module() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.rst").read_text("utf-8")
    reasons = page.split("\nLong modules\n------------\n")[1].split("\n---")[0]
    assert {name for name in LONGER if f"``{name}``" not in reasons} == set()

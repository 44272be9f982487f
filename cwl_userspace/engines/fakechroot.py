"""fakechroot: a library between the program and its C library that puts a root before each path.

The last resort, where neither namespaces nor ptrace are allowed. It works for dynamic programs
of glibc alone and others are refused; what goes past the C library sees the host. There are no
mounts, so each container gets a private copy of the tree, in which links lead to what was asked
for. Landlock and seccomp add what they add to proot.
"""

from __future__ import annotations

import os

from cwl_userspace.engines import probe
from cwl_userspace.engines.base import (
    EMULATED_ROOT,
    LANDLOCK_NEEDED,
    NETWORK_OFF,
    PRIVATE_PIDS,
    PRIVATE_ROOT,
    PROMISES,
    Launch,
    by_landlock,
)
from cwl_userspace.engines.fakechroot_image import library_path, program_in
from cwl_userspace.engines.fakechroot_tree import Tree
from cwl_userspace.errors import EngineError, UsageError
from cwl_userspace.script import script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.settings import Settings
    from cwl_userspace.spec import ContainerSpec

HINT = "install the package fakechroot"
_LIBRARY = "fakechroot/libfakechroot.so"
# Without these, which the program finds among its own, there is no fakechroot.
OWN_VARIABLES = (
    *("FAKECHROOT", "FAKECHROOT_BASE", "FAKECHROOT_EXCLUDE_PATH", "FAKECHROOT_VERSION", "PWD"),
    *("FAKECHROOT_ELFLOADER", "FAKECHROOT_ELFLOADER_OPT_ARGV0", "LD_LIBRARY_PATH", "LD_PRELOAD"),
)


def engine(settings: Settings, environ: Mapping[str, str]) -> Engine:
    """The engine with what its probe found or remembers."""
    library = find(environ.get("PATH", ""))
    facts = probe.remembered(
        settings.cache, "fakechroot", library or "none", lambda: Fakechroot.examine(library)
    )
    return Fakechroot(library, facts)


def find(path: str) -> str:
    """This host's libfakechroot.so: beside a fakechroot on PATH, or where distributions put it."""
    machine = os.uname().machine
    tops = [os.path.dirname(directory.rstrip("/")) for directory in path.split(":") if directory]
    for top in (*tops, "/usr", "/usr/local"):
        for below in (f"lib/{machine}-linux-gnu", "lib64", "lib"):
            place = os.path.join(top, below, _LIBRARY)
            if os.path.isabs(place) and os.path.isfile(place):
                return place
    return ""


class Fakechroot:
    """The engine ``fakechroot``. What its probe found is given to it, so that a launch is pure."""

    name = "fakechroot"
    own_variables = OWN_VARIABLES

    def __init__(self, library: str, facts: Mapping[str, Any]) -> None:
        self._library = library
        self._facts = facts

    def unavailable(self) -> str | None:
        """Why fakechroot cannot be used here; None if it can."""
        return self._facts["reason"] or None

    def promises(self) -> Mapping[str, str]:
        """What a library can keep, and what seccomp and Landlock add."""
        no_seccomp = "" if self._facts["seccomp"] else "the kernel has no seccomp filters"
        return {
            **dict.fromkeys(PROMISES, ""),
            **by_landlock(self._facts["landlock"]),
            PRIVATE_ROOT: "what goes past the C library sees the host's files",
            NETWORK_OFF: no_seccomp,
            PRIVATE_PIDS: "fakechroot has no process name space",
            EMULATED_ROOT: no_seccomp,
        }

    @staticmethod
    def examine(library: str) -> dict[str, Any]:
        """What the library can do here, by running a program with it."""
        from cwl_userspace.engines.fakechroot_probe import examine

        return examine(library, HINT)

    def notes(self) -> list[str]:
        """What a user should know of a promise that is kept in another way than elsewhere."""
        return [
            "fakechroot runs dynamic programs of glibc alone; a static one that such a program"
            " starts sees the host's files",
            "programs find LD_PRELOAD, LD_LIBRARY_PATH and FAKECHROOT_* in their environment",
            "mounts are symbolic links; each container copies its whole image",
            "no user is emulated but root, and files are shown with their real owner",
            "fakechroot turns the network off with all of it, loopback included",
        ]

    def copies(self, spec: ContainerSpec) -> bool:
        """Always: links are made in the tree, and some are rewritten."""
        return True

    def launch(self, spec: ContainerSpec, private: str) -> Launch:
        """How to fill the private tree and start the program with the library."""
        _check(spec, private)
        tree = Tree(spec, private)
        program, argv, loader = program_in(tree.view, spec, self._facts["needs"])
        tree.temporary_places()
        tree.devices()
        tree.files()
        tree.mounts()
        working_dir = tree.working_dir()
        shim = f"{private}/shim"
        environment = {**spec.environment, **self._own_environment(spec, tree)}
        command = [tree.on_host(program), *argv]
        if loader:
            # The host's ld.so cannot load a C library that is not its own.
            environment["FAKECHROOT_ELFLOADER"] = tree.on_host(loader)
            environment["FAKECHROOT_ELFLOADER_OPT_ARGV0"] = "--argv0"
            command = [tree.on_host(loader), loader, "--argv0", argv[0], command[0], *argv[1:]]
        return Launch(
            engine=self.name,
            argv=[shim],
            environment={},
            working_dir=working_dir,
            namespaces=False,
            last=[
                # Of real root's powers some reach past Landlock to processes of the host.
                *([["drop_capabilities"]] if os.geteuid() == 0 else []),
                ["no_new_privileges"],
                *self._protection(tree),
                ["keep_within", spec.network_off],
                *([["no_network"]] if spec.network_off and self._facts["seccomp"] else []),
            ],
            prepare=[
                ["make_directory", private, 0o700],
                ["copy_tree", spec.rootfs, tree.root],
                ["anchor_links", tree.root],
                *tree.operations,
                ["make_status_shim", shim, self._facts["machine"]],
            ],
            private=private,
            guarded=tree.guarded() if self._facts["mode_guard"] else [],
            terminal=spec.tty,
            limits=spec.limits.to_json(),
            script=script(
                command[0],
                command[1:],
                environment,
                terminal=spec.tty,
                bound=True,
                filters=_filters(spec),
            ),
        )

    def _protection(self, tree: Tree) -> list[list[Any]]:
        if self._facts["landlock"] < LANDLOCK_NEEDED:
            return []
        return [["restrict_writes", tree.writable]]

    def _own_environment(self, spec: ContainerSpec, tree: Tree) -> dict[str, str]:
        """The library's variables, and the image's own for ld.so as places of this host.

        ld.so(8) reads its two before the library is there to change a path.
        """
        preload = spec.environment.get("LD_PRELOAD", "").replace(" ", ":").split(":")
        libraries = dict.fromkeys(tree.on_host(p) for p in library_path(tree.view, spec))
        return {
            # A shell says where it is by this name as long as it is true.
            "PWD": spec.environment.get("PWD", spec.working_dir),
            "LD_PRELOAD": ":".join(
                (self._library, *(tree.on_host(p) if "/" in p else p for p in preload if p))
            ),
            "LD_LIBRARY_PATH": ":".join(libraries),
            "FAKECHROOT": "true",
            "FAKECHROOT_BASE": tree.root,
            "FAKECHROOT_EXCLUDE_PATH": ":".join(tree.excluded()),
        }


def _filters(spec: ContainerSpec) -> list[str]:
    """Who is to be root is told that it is, and that it has changed what it has not."""
    if not spec.identity.emulate_root:
        return []
    from cwl_userspace.kernel.rootfilter import answered_root

    return [answered_root(os.uname().machine).hex()]


def _check(spec: ContainerSpec, private: str) -> None:
    if spec.own_tree:
        raise UsageError(
            "the engine fakechroot runs no container with a tree of its own",
            "choose another with --engine",
        )
    if any(c in private for c in ":; "):
        raise EngineError(
            f"the engine fakechroot cannot work in {private!r}: ld.so would cut that path",
            "set TMPDIR to a path without colons, semicolons and spaces",
        )

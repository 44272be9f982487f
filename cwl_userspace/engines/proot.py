"""proot: the engine that works everywhere, since it needs nothing but ptrace.

What Debian's 5.1.0 gets wrong is cured from outside: a seccomp filter for the paths that it does
not translate, a status shim for exit codes, a keeper that ends what it would leave running, and
Landlock for the stored tree and read-only binds. Where the kernel has no Landlock the container
gets a private copy of the tree, because modes protect nothing from the files' owner.
"""

from __future__ import annotations

import os

from cwl_userspace.engines import probe
from cwl_userspace.engines.base import (
    LANDLOCK_NEEDED,
    NETWORK_OFF,
    PRIVATE_PIDS,
    PROMISES,
    Launch,
    by_landlock,
)
from cwl_userspace.engines.bound import SHIM, Bound, writes_to_copy
from cwl_userspace.engines.lookup import find_program, on_path
from cwl_userspace.kernel import signals
from cwl_userspace.script import LOCATOR, script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.settings import Settings
    from cwl_userspace.spec import ContainerSpec

HINT = (
    "install the package proot, or fetch one with cwl-userspace setup proot, or put a static"
    " proot on PATH or into the setting proot (https://proot-me.github.io has them): it needs"
    " no rights"
)
# Where programs that were fetched are kept, below the store.
TOOLS = "tools"
_LOADER = "proot/loader"
_LOCATOR = "/dev/.cwl-userspace-locator"


def candidates(settings: Settings, path: str) -> list[str]:
    """The proots to choose from: the one that is set and no other, else the newest that ``setup``
    has fetched, and the first on PATH.
    """
    if settings.proot:
        return [settings.proot]
    return [p for p in (fetched(settings.store), on_path("proot", path)) if p]


def fetched(store: str) -> str:
    """The newest proot that ``setup proot`` keeps beside the store; empty if there is none."""
    tools = os.path.join(store, TOOLS)
    try:
        names = [name for name in os.listdir(tools) if name.startswith("proot-")]
        return max((os.path.join(tools, name) for name in names), key=os.path.getmtime, default="")
    except OSError:
        return ""


def engine(settings: Settings, environ: Mapping[str, str]) -> Engine:
    """The engine with what its probe found or remembers."""
    paths = candidates(settings, environ.get("PATH", ""))
    about = "\n".join(map(_state, paths)) or "none"
    facts = probe.remembered(settings.cache, "proot", about, lambda: Proot.examine(paths))
    return Proot(facts)


def _state(path: str) -> str:
    """A program, and what changes when it does."""
    try:
        found = os.stat(path)
    except OSError:
        return path
    return f"{path} {found.st_mtime_ns} {found.st_size}"


class Proot:
    """The engine ``proot``. What its probe found is given to it, so that a launch is pure."""

    name = "proot"

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._path = facts["path"]
        self._facts = facts

    def unavailable(self) -> str | None:
        """Why proot cannot be used here; None if it can."""
        return self._facts["reason"] or None

    def promises(self) -> Mapping[str, str]:
        """What seccomp and Landlock make possible; processes of the host are always to be seen."""
        return {
            **dict.fromkeys(PROMISES, ""),
            **by_landlock(self._facts["landlock"]),
            NETWORK_OFF: "" if self._facts["seccomp"] else "the kernel has no seccomp filters",
            PRIVATE_PIDS: "proot has no process name space",
        }

    @staticmethod
    def examine(paths: list[str]) -> dict[str, Any]:
        """What the best of these proots can do here, by running them."""
        from cwl_userspace.engines.proot_probe import best

        return best(paths, HINT)

    def measured(self) -> list[str]:
        """What it costs, by running a loop of system calls with and without it."""
        from cwl_userspace.engines.proot_probe import measure

        found = measure(self._path, self._facts["accelerated"])
        if found is None:
            return ["what a system call costs in it could not be measured"]
        return [
            f"measured here: a system call that names a file takes {found[0]:.1f} times as long in"
            f" it, another {found[1]:.1f} times"
        ]

    def notes(self) -> list[str]:
        """What a user should know of a promise that is kept in another way than elsewhere."""
        notes = [described(self._facts)]
        if not self._facts["accelerated"]:
            notes.append(
                "a proot whose acceleration works is many times faster: see cwl-userspace setup"
                " proot --help"
            )
        notes += ["proot turns the network off with all of it, loopback included"]
        if not self._facts["mode_guard"]:
            notes.append("modes and times of the stored tree are not kept from their owner")
        return notes

    def launch(self, spec: ContainerSpec, private: str) -> Launch:
        """The command line of proot, and what is to be made in ``private`` before."""
        plan = Bound(spec, private, copy=self.copies(spec))
        plan.prepare("make_directory", f"{private}/proot", 0o700)
        plan.prepare("make_loader", f"{private}/{_LOADER}", self._path)
        plan.bind("/proc", "/proc", directory=True)
        plan.host_devices()
        plan.private_directory("/dev/shm", 0o1777)
        plan.devices()
        plan.shim(self._facts["machine"])
        plan.temporary_places()
        plan.mounts()
        plan.files()
        plan.working_dir()
        program = find_program(
            plan.view, spec.argv, spec.environment.get("PATH", ""), spec.working_dir
        )
        guarded = plan.guarded() if self._facts["mode_guard"] else []
        located = bool(guarded) and self._facts["accelerated"]
        judged = self._facts["mode_guard"] and not self._facts["accelerated"]
        if located:
            plan.prepare("make_locator", f"{private}{_LOCATOR}", self._facts["machine"], LOCATOR)
        all_binds = [*plan.tree(), *plan.asked()]
        binds = [f"{plan.without_colon(b.source)}:{b.place}!" for b in all_binds]
        return Launch(
            engine=self.name,
            argv=[
                *(self._path, "-v", "-1"),
                *self._identity(spec),
                *(["--kill-on-exit"] if self._facts["kill_on_exit"] else []),
                *("-r", plan.root),
                *(word for bind in binds for word in ("-b", bind)),
                *("-w", spec.working_dir, *([_LOCATOR] if located else []), SHIM),
            ],
            environment=self._own_environment(private),
            working_dir=private,
            namespaces=False,
            last=[
                # Of real root's powers some reach past Landlock to processes of the host.
                *([["drop_capabilities"]] if os.geteuid() == 0 else []),
                # Upon it proot kills all that it traces; any other end would leave them running.
                ["end_with_parent", signals.SIGQUIT],
                ["no_new_privileges"],
                *self._protection(spec, plan, private),
                ["keep_within", spec.network_off],
                *([["untranslated_paths", judged]] if self._facts["seccomp"] else []),
                *([["no_network"]] if spec.network_off and self._facts["seccomp"] else []),
            ],
            prepare=plan.operations(),
            private=private,
            skip=1,
            guarded=guarded,
            clones_judged=judged,
            locator={"forgive": self._becomes_root(spec)} if located else {},
            terminal=spec.tty,
            limits=spec.limits.to_json(),
            script=script(
                program, spec.argv, spec.environment, terminal=spec.tty, bound=True, watched=True
            ),
        )

    def copies(self, spec: ContainerSpec) -> bool:
        """Emulated root means to write to the root; and without Landlock nothing protects it."""
        unprotected = self._facts["landlock"] < LANDLOCK_NEEDED and not spec.own_tree
        return writes_to_copy(spec) or unprotected

    def _protection(self, spec: ContainerSpec, plan: Bound, private: str) -> list[list[Any]]:
        if self._facts["landlock"] < LANDLOCK_NEEDED:
            return []
        # Of root's own programs even sysrq-trigger would be within reach in /proc.
        own = [p for p in plan.writable() if p != "/proc" or os.geteuid() != 0]
        return [["restrict_writes", [f"{private}/proot", *own]]]

    def _identity(self, spec: ContainerSpec) -> list[str]:
        identity = spec.identity
        if self._becomes_root(spec):
            return ["-0"]
        if (identity.uid, identity.gid) != (os.geteuid(), os.getegid()):
            return ["-i", f"{identity.uid}:{identity.gid}"]
        return []

    def _becomes_root(self, spec: ContainerSpec) -> bool:
        return spec.identity.uid == 0 and os.geteuid() != 0

    def _own_environment(self, private: str) -> dict[str, str]:
        """proot's own variables; the program gets its own from the status shim.

        With a loader of ours proot writes nothing; 5.1 would write to /tmp, and only there.
        """
        own = {"PROOT_TMP_DIR": f"{private}/proot", "PROOT_LOADER": f"{private}/{_LOADER}"}
        if not self._facts["accelerated"]:
            own["PROOT_NO_SECCOMP"] = "1"
        return own


def described(facts: Mapping[str, Any]) -> str:
    """Which proot this is."""
    how = "accelerated by seccomp"
    if not facts["accelerated"]:
        how = f"not accelerated: {facts['not_accelerated']}"
    return f"proot {facts['version'] or 'of no known version'} at {facts['path']}, {how}"

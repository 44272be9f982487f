"""bubblewrap: namespaces made by another program, for hosts that let only some make them.

The root is put together of read-only binds, or is a private copy where it is to be written. What
is to be executed, and the seccomp filter, comes to the status shim by a descriptor: bwrap takes
no more than 9000 words in all.
"""

from __future__ import annotations

import os

from cwl_userspace.engines import filters, probe
from cwl_userspace.engines.base import PRIVATE_PIDS, PROMISES, Launch
from cwl_userspace.engines.bound import SHIM, Bound, writes_to_copy
from cwl_userspace.engines.lookup import find_program, on_path
from cwl_userspace.errors import EngineError
from cwl_userspace.nsidentity import KEPT_CAPABILITIES
from cwl_userspace.script import script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.engines.bound import Bind
    from cwl_userspace.settings import Settings
    from cwl_userspace.spec import ContainerSpec

HINT = "there is no bwrap; install the package bubblewrap"
_MOST_WORDS = 9000  # MAX_ARGS in bubblewrap.c
_NAMESPACES = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts")
_FIRST = ("--die-with-parent", "--cap-drop", "ALL")


def engine(settings: Settings, environ: Mapping[str, str]) -> Engine:
    """The engine with what its probe found or remembers."""
    path = on_path("bwrap", environ.get("PATH", ""))
    facts = probe.remembered(settings.cache, "bwrap", path or "none", lambda: examine(path))
    return Bwrap(path, facts, filters.kept(settings.cache))


def examine(path: str) -> dict[str, Any]:
    """What this bwrap can do here, by running it."""
    from cwl_userspace.engines import trial

    def attempt(directory: str) -> dict[str, Any]:
        command = [path, *_NAMESPACES, "--unshare-net", *_FIRST, "--uid", str(os.geteuid())]
        command += ["--gid", str(os.getegid()), "--ro-bind", f"{directory}/root", "/"]
        command += ["--dev", "/dev", "--tmpfs", "/dev/shm", "--chdir", "/"]
        for fresh in (True, False):
            reason = trial.failure([*command, *_process_files(fresh), "/shim"])
            if not reason:
                break
        sizes = "--size " in trial.help_of(path)
        why = reason and f"{reason}{probe.why_not()}"
        return {"reason": why, "fresh_proc": fresh, "sizes": sizes}

    return trial.try_out(path, HINT, attempt)


class Bwrap:
    """The engine ``bwrap``. What its probe found is given to it, so that a launch is pure."""

    name = "bwrap"

    def __init__(self, path: str, facts: Mapping[str, Any], programs: Mapping[str, str]) -> None:
        self._path = path
        self._facts = facts
        self._filters = programs

    def unavailable(self) -> str | None:
        """Why bwrap cannot be used here; None if it can."""
        return self._facts["reason"] or None

    def promises(self) -> Mapping[str, str]:
        """Everything, but for what needs a fresh /proc."""
        kept = dict.fromkeys(PROMISES, "")
        if not self._facts["fresh_proc"]:
            kept[PRIVATE_PIDS] = "the kernel allows no fresh /proc here, so the host's is shown"
        return kept

    def notes(self) -> list[str]:
        """What this bwrap is too old for."""
        return [] if self._facts["sizes"] else ["/dev/shm has no limit of its own (before 0.6)"]

    def copies(self, spec: ContainerSpec) -> bool:
        """True for emulated root."""
        return writes_to_copy(spec)

    def launch(self, spec: ContainerSpec, private: str) -> Launch:
        """The command line of bwrap, and what is to be made in ``private`` before."""
        plan = Bound(spec, private, copy=self.copies(spec))
        plan.everything(self._facts["machine"])
        program = find_program(
            plan.view, spec.argv, spec.environment.get("PATH", ""), spec.working_dir
        )
        argv = [self._path, *self._identity(spec), *self._mounts(spec, plan), "--", SHIM]
        if len(argv) > _MOST_WORDS:
            raise EngineError(
                f"bwrap takes {_MOST_WORDS} words, and this container needs {len(argv)}",
                "mount into smaller directories of the image, or choose another engine",
            )
        return Launch(
            engine=self.name,
            argv=argv,
            environment={},
            working_dir="/",
            namespaces=False,
            prepare=plan.operations(),
            private=private,
            skip=2,
            terminal=spec.tty,
            limits=spec.limits.to_json(),
            script=script(
                program,
                spec.argv,
                spec.environment,
                terminal=spec.tty,
                hidden=True,
                filters=[self._filters["root" if spec.identity.emulate_root else "container"]],
            ),
        )

    def _identity(self, spec: ContainerSpec) -> list[str]:
        identity = spec.identity
        kept = KEPT_CAPABILITIES if identity.emulate_root else ()
        return [
            *_NAMESPACES,
            *(["--unshare-net"] if spec.network_off else []),
            *("--uid", str(identity.uid), "--gid", str(identity.gid)),
            *("--hostname", os.fsdecode(os.fsencode(spec.hostname)[:64])),
            *_FIRST,
            *(word for name in kept for word in ("--cap-add", name)),
        ]

    def _mounts(self, spec: ContainerSpec, plan: Bound) -> list[str]:
        size = ["--size", str(spec.shm_size)] if self._facts["sizes"] and spec.shm_size else []
        return [
            *("--ro-bind" if spec.read_only else "--bind", plan.root, "/"),
            *(word for bind in plan.tree() for word in _words(bind)),
            *_process_files(self._facts["fresh_proc"]),
            *("--dev", "/dev", "--perms", "1777", *size, "--tmpfs", "/dev/shm"),
            *(word for bind in plan.asked() for word in _words(bind)),
            *("--chdir", spec.working_dir),
        ]


def _process_files(fresh: bool) -> list[str]:
    return ["--proc", "/proc"] if fresh else ["--bind", "/proc", "/proc"]


def _words(bind: Bind) -> tuple[str, str, str]:
    kind = "--dev-bind" if bind.device else "--ro-bind" if bind.read_only else "--bind"
    return (kind, bind.source, bind.place)

"""runc and crun, the runtimes of the Open Container Initiative, without root's rights.

A bundle is made in the run's private directory: the root put together of read-only binds, or a
private copy where it is to be written. Control groups are left out; who is not to be root inside
becomes so in a user name space below the runtime's, since runtimes set up as root only.
"""

from __future__ import annotations

import json
import os
import posixpath

from cwl_userspace.engines import filters, probe
from cwl_userspace.engines.base import PRIVATE_PIDS, PROMISES, READ_ONLY_BINDS, Launch
from cwl_userspace.engines.bound import Bound, writes_to_copy
from cwl_userspace.engines.bundle import config
from cwl_userspace.engines.lookup import find_program, on_path
from cwl_userspace.script import script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.settings import Settings
    from cwl_userspace.spec import ContainerSpec

# A user's PATH often lacks the places of programs for administrators, where runc is.
_MORE_PLACES = ":/usr/local/sbin:/usr/sbin:/sbin"
_OPTIONS = {"runc": ("--rootless", "true"), "crun": ("--cgroup-manager", "disabled")}
_RUN = ("run", "--no-new-keyring", "--preserve-fds")


def engine(settings: Settings, environ: Mapping[str, str]) -> Engine:
    """The engine ``runc`` with what its probe found or remembers."""
    return _engine("runc", settings, environ)


def crun_engine(settings: Settings, environ: Mapping[str, str]) -> Engine:
    """The engine ``crun`` with what its probe found or remembers."""
    return _engine("crun", settings, environ)


def _engine(name: str, settings: Settings, environ: Mapping[str, str]) -> Engine:
    path = on_path(name, environ.get("PATH", "") + _MORE_PLACES)
    facts = probe.remembered(settings.cache, name, path or "none", lambda: examine(name, path))
    return Runtime(name, path, facts, filters.kept(settings.cache))


def examine(name: str, path: str) -> dict[str, Any]:
    """What this runtime can do here, by running it."""
    from cwl_userspace.engines import runtime_probe

    return runtime_probe.examine(name, path, _OPTIONS[name])


class Runtime:
    """An engine that takes a bundle. What its probe found is given to it: a launch is pure."""

    def __init__(
        self, name: str, path: str, facts: Mapping[str, Any], programs: Mapping[str, str]
    ) -> None:
        self.name = name
        self._path = path
        self._facts = facts
        self._filters = programs

    def unavailable(self) -> str | None:
        """Why the runtime cannot be used here; None if it can."""
        return self._facts["reason"] or None

    def promises(self) -> Mapping[str, str]:
        """Everything, but for what needs a fresh /proc or a kernel that restricts recursively."""
        kept = dict.fromkeys(PROMISES, "")
        if not self._facts["fresh_proc"]:
            kept[PRIVATE_PIDS] = "the kernel allows no fresh /proc here, so the host's is shown"
        if not self._facts["recursive"]:
            kept[READ_ONLY_BINDS] = "what is mounted below a source stays writable (before 5.12)"
        return kept

    def notes(self) -> list[str]:
        """Nothing is done in another way than elsewhere."""
        return []

    def copies(self, spec: ContainerSpec) -> bool:
        """True for emulated root."""
        return writes_to_copy(spec)

    def launch(self, spec: ContainerSpec, private: str) -> Launch:
        """The command line of the runtime, and what is to be made in ``private`` before."""
        plan = Bound(spec, private, copy=self.copies(spec))
        plan.everything(self._facts["machine"])
        program = find_program(
            plan.view, spec.argv, spec.environment.get("PATH", ""), spec.working_dir
        )
        bundle = f"{private}/bundle"
        document = config(spec, plan, self._facts["fresh_proc"], self._facts["recursive"])
        plan.prepare("make_file", f"{bundle}/config.json", json.dumps(document))
        # Go has threads, and the end of the one that started the shim is not the runtime's.
        pipes = threads = self.name == "runc"
        ids = (spec.identity.uid, spec.identity.gid)
        return Launch(
            engine=self.name,
            argv=[
                *(self._path, *_OPTIONS[self.name], "--root", f"{private}/state", *_RUN),
                *("5" if pipes else "2", "--bundle", bundle, posixpath.basename(private)),
            ],
            environment={},
            working_dir="/",
            namespaces=False,
            last=[
                *([["no_new_groups"]] if os.geteuid() == 0 else []),
                *([["no_streams"]] if pipes else []),
            ],
            prepare=plan.operations(),
            private=private,
            skip=1,
            terminal=spec.tty,
            limits=spec.limits.to_json(),
            script=script(
                program,
                spec.argv,
                spec.environment,
                terminal=spec.tty,
                hidden=True,
                bound=not threads,
                streams=pipes,
                ids=() if ids == (0, 0) else ids,
                filters=[self._filters["root" if spec.identity.emulate_root else "container"]],
            ),
        )

"""charliecloud: ch-run on a root put together of binds, with what it lacks put on by the shim.

ch-run has neither process nor network name spaces, and no read-only binds. So writes are
restricted by Landlock, whose rules the shim takes once everything is mounted, the network is
turned off by a seccomp filter, and the modes of what may not change are kept by the mode guard,
for which a locator opens paths inside.
"""

from __future__ import annotations

import os

from cwl_userspace.engines import filters, probe
from cwl_userspace.engines.base import (
    PRIVATE_PIDS,
    PROMISES,
    READ_ONLY_BINDS,
    READ_ONLY_ROOT,
    Launch,
)
from cwl_userspace.engines.bound import SHIM, Bound
from cwl_userspace.engines.lookup import find_program, on_path
from cwl_userspace.script import BLOCK, script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.settings import Settings
    from cwl_userspace.spec import ContainerSpec

HINT = "there is no ch-run; install the package charliecloud"
_LOCATOR = "/dev/.cwl-userspace-locator"
_LOCATOR_SOCKET = BLOCK + 2  # after Landlock's rules
# Below this version truncate(2) goes past Landlock.
_LANDLOCK_NEEDED = 3
# ch-run binds the host's over these where the image has them.
_HOSTS_FILES = ("/etc/hosts", "/etc/resolv.conf")
# What it will not start without, or not without a warning; the program gets nothing of it.
_ENVIRONMENT = {"USER": "cwl-userspace", "PATH": "/"}


def engine(settings: Settings, environ: Mapping[str, str]) -> Engine:
    """The engine with what its probe found or remembers."""
    path = on_path("ch-run", environ.get("PATH", ""))
    facts = probe.remembered(settings.cache, "charliecloud", path or "none", lambda: examine(path))
    return Charliecloud(path, facts, filters.kept(settings.cache))


def examine(path: str) -> dict[str, Any]:
    """What this ch-run can do here, by running it, and what the kernel has to add."""
    from cwl_userspace.engines import trial
    from cwl_userspace.engines.proot_probe import mode_guard_works
    from cwl_userspace.kernel import landlock

    def attempt(directory: str) -> dict[str, Any]:
        ids = ["--uid", str(os.geteuid()), "--gid", str(os.getegid())]
        command = [path, *ids, "--no-passwd", "--private-tmp", f"{directory}/root", "--", "/shim"]
        reason = trial.failure(command, _ENVIRONMENT)
        return {
            "reason": reason and f"{reason}{probe.why_not()}",
            "landlock": landlock.abi(),
            "mode_guard": mode_guard_works(),
        }

    return trial.try_out(path, HINT, attempt)


class Charliecloud:
    """The engine ``charliecloud``. What its probe found is given to it: a launch is pure."""

    name = "charliecloud"

    def __init__(self, path: str, facts: Mapping[str, Any], programs: Mapping[str, str]) -> None:
        self._path = path
        self._facts = facts
        self._filters = programs

    def unavailable(self) -> str | None:
        """Why ch-run cannot be used here; None if it can."""
        return self._facts["reason"] or None

    def promises(self) -> Mapping[str, str]:
        """What ch-run has no option for and the kernel nothing in its place is not promised."""
        kept = dict.fromkeys(PROMISES, "")
        kept[PRIVATE_PIDS] = "ch-run has no process name space"
        if not self._protects():
            landlock = f"the kernel's Landlock is {self._facts['landlock']}, not 3 or newer"
            kept[READ_ONLY_BINDS] = f"ch-run has no read-only binds, and {landlock}"
            kept[READ_ONLY_ROOT] = f"what ch-run binds can be written, and {landlock}"
        return kept

    def notes(self) -> list[str]:
        """What a user should know of a promise that is kept in another way than elsewhere."""
        return [
            "charliecloud turns the network off with all of it, loopback included",
            "the name of the host and the size of /dev/shm are the host's",
        ]

    def copies(self, spec: ContainerSpec) -> bool:
        """Emulated root means to write to the root; and without Landlock nothing protects it."""
        if spec.own_tree:
            return False
        return (spec.identity.emulate_root and not spec.read_only) or not self._protects()

    def launch(self, spec: ContainerSpec, private: str) -> Launch:
        """The command line of ch-run, and what is to be made in ``private`` before."""
        plan = self._plan(spec, private)
        program = find_program(
            plan.view, spec.argv, spec.environment.get("PATH", ""), spec.working_dir
        )
        binds = [f"{plan.without_colon(b.source)}:{b.place}" for b in (*plan.tree(), *plan.asked())]
        identity, protects = spec.identity, self._protects()
        return Launch(
            engine=self.name,
            argv=[
                *(self._path, "--no-passwd", "--private-tmp"),
                *("--uid", str(identity.uid), "--gid", str(identity.gid)),
                *([] if spec.read_only else ["--write"]),
                *(word for bind in binds for word in ("--bind", bind)),
                *("--cd", spec.working_dir, plan.root, "--"),
                *([_LOCATOR] if protects else []),
                SHIM,
            ],
            environment=_ENVIRONMENT,
            working_dir="/",
            namespaces=False,
            last=[["no_new_privileges"]],
            prepare=plan.operations(),
            private=private,
            guarded=_guarded(plan) if protects else [],
            locator={"forgive": identity.emulate_root} if protects else {},
            terminal=spec.tty,
            limits=spec.limits.to_json(),
            script=script(
                program,
                spec.argv,
                spec.environment,
                terminal=spec.tty,
                bound=True,
                filters=[
                    self._filters["root" if identity.emulate_root else "container"],
                    *([self._filters["no_network"]] if spec.network_off else []),
                ],
                writable=_writable(plan) if protects else None,
            ),
        )

    def _protects(self) -> bool:
        return self._facts["landlock"] >= _LANDLOCK_NEEDED and bool(self._facts["mode_guard"])

    def _plan(self, spec: ContainerSpec, private: str) -> Bound:
        """ch-run mounts /dev, /proc, /sys and /tmp of the host: what is not wanted is covered."""
        plan = Bound(spec, private, copy=self.copies(spec))
        plan.mounted("/proc")
        for place, mode in (("/sys", 0o755), ("/tmp", 0o1777), ("/dev", 0o755)):
            plan.mounted(place, mode)
        plan.private_directory("/sys", 0o755)
        plan.host_devices()
        plan.private_directory("/dev/shm", 0o1777)
        plan.devices()
        plan.shim(self._facts["machine"])
        if self._protects():
            place = f"{private}/locator"
            plan.prepare("make_locator", place, self._facts["machine"], _LOCATOR_SOCKET)
            plan.bind(place, _LOCATOR, read_only=True)
        plan.temporary_places()
        for path in _HOSTS_FILES:
            place = plan.view.resolve(path)
            if os.path.isfile(plan.view.host(place)):
                plan.bind(plan.view.host(place), place, read_only=True)
        plan.mounts()
        plan.files()
        plan.working_dir()
        return plan


def _writable(plan: Bound) -> list[str]:
    """Of real root's own programs even sysrq-trigger would be within reach in /proc."""
    return [*plan.writable(), *(["/proc"] if os.geteuid() != 0 else [])]


def _guarded(plan: Bound) -> list[str]:
    """What must stay as it is, by its place in the container: that is what the kernel names it."""
    return [bind.place for bind in (*plan.tree(), *plan.asked()) if bind.read_only]

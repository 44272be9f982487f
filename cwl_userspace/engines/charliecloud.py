"""charliecloud: ch-run on a root put together of binds, with what it lacks put on by the shim.

ch-run has no read-only binds: the shim, which it starts as root of the new user name space, sets
the attributes of all mounts (Linux 5.12), and then becomes who the program is to be in a user
name space below, which so has no power over them. ch-run has no network name space either: the
network is turned off by a seccomp filter.
"""

from __future__ import annotations

import errno
import os

from cwl_userspace.engines import filters, probe
from cwl_userspace.engines.base import (
    PRIVATE_PIDS,
    PROMISES,
    READ_ONLY_BINDS,
    READ_ONLY_ROOT,
    Launch,
)
from cwl_userspace.engines.bound import SHIM, Bound, writes_to_copy
from cwl_userspace.engines.lookup import find_program, on_path
from cwl_userspace.inroot import mounts_below
from cwl_userspace.kernel import syscalls as sys_
from cwl_userspace.nsplaces import HOST_WIDE
from cwl_userspace.script import script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.engines.bound import Bind
    from cwl_userspace.settings import Settings
    from cwl_userspace.spec import ContainerSpec

HINT = "there is no ch-run; install the package charliecloud"
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

    def attempt(directory: str) -> dict[str, Any]:
        words = ["--uid", "0", "--gid", "0", "--no-passwd"]
        reason = trial.failure([path, *words, f"{directory}/root", "--", "/shim"], _ENVIRONMENT)
        return {
            "reason": reason and f"{reason}{probe.why_not()}",
            "attributes": _knows_attributes(directory),
        }

    return trial.try_out(path, HINT, attempt)


def _knows_attributes(directory: str) -> bool:
    """Whether the kernel has the call; it then complains of missing rights, or of the place."""
    try:
        sys_.mount_setattr(sys_.AT_FDCWD, directory, 0, 0, 0)
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True


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
        if not self._facts["attributes"]:
            old = "and the kernel cannot make them so (before 5.12)"
            kept[READ_ONLY_BINDS] = f"ch-run has no read-only binds, {old}"
            kept[READ_ONLY_ROOT] = f"ch-run has no read-only binds to put a root together of, {old}"
        return kept

    def notes(self) -> list[str]:
        """What a user should know of a promise that is kept in another way than elsewhere."""
        return [
            "charliecloud turns the network off with all of it, loopback included",
            "the name of the host and the size of /dev/shm are the host's",
        ]

    def copies(self, spec: ContainerSpec) -> bool:
        """Emulated root means to write to the root; on an old kernel nothing protects the image."""
        unprotected = not self._facts["attributes"] and not spec.own_tree
        return writes_to_copy(spec) or unprotected

    def launch(self, spec: ContainerSpec, private: str) -> Launch:
        """The command line of ch-run, and what is to be made in ``private`` before."""
        plan = self._plan(spec, private)
        program = find_program(
            plan.view, spec.argv, spec.environment.get("PATH", ""), spec.working_dir
        )
        binds = [*plan.tree(), *plan.asked()]
        words = [f"{plan.without_colon(bind.source)}:{bind.place}" for bind in binds]
        identity = spec.identity
        return Launch(
            engine=self.name,
            argv=[
                *(self._path, "--no-passwd"),
                *("--uid", "0", "--gid", "0"),
                *([] if spec.read_only else ["--write"]),
                *(word for bind in words for word in ("--bind", bind)),
                *("--cd", spec.working_dir, plan.root, "--", SHIM),
            ],
            environment=_ENVIRONMENT,
            working_dir="/",
            namespaces=False,
            prepare=plan.operations(),
            private=private,
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
                ids=(identity.uid, identity.gid),
                attributes=_attributes(binds) if self._facts["attributes"] else [],
            ),
        )

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
        for name in HOST_WIDE if os.geteuid() == 0 else ():
            place = f"/proc/{name}"
            if os.path.exists(place):  # not every kernel has them all
                plan.bind(place, place, os.path.isdir(place), read_only=True)
        plan.temporary_places()
        for path in _HOSTS_FILES:
            place = plan.view.resolve(path)
            if os.path.isfile(plan.view.host(place)):
                plan.bind(plan.view.host(place), place, read_only=True)
        plan.mounts()
        plan.files()
        plan.working_dir()
        return plan


def _attributes(binds: list[Bind]) -> list[tuple[str, int]]:
    """What to set where: for each bind, and each mount below the source of a read-only one."""
    places = [bind.place for bind in binds]
    found = []
    for bind in binds:
        kind = sys_.MOUNT_ATTR_NOSUID
        kind |= 0 if bind.device else sys_.MOUNT_ATTR_NODEV
        kind |= sys_.MOUNT_ATTR_RDONLY if bind.read_only else 0
        found.append((bind.place, kind))
        if bind.read_only and bind.directory:
            real = os.path.realpath(bind.source)
            for mount in mounts_below(real)[1:]:
                place = bind.place + mount.removeprefix(real)
                if not any(
                    place == other or place.startswith(f"{other}/")
                    for other in places
                    if len(other) > len(bind.place)
                ):
                    found.append((place, kind))
    return found

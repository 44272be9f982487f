"""The first process of a guest kernel with cgroup v2 to itself: runs the cases that need one.

Started by tests/integration/test_cgroups.py with a store and the command; prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

from cwl_userspace.kernel import syscalls

USER = 1000
CGROUPS = Path("/sys/fs/cgroup")
PLACE = Path("/mnt")
FILL = "dd if=/dev/zero of=/dev/shm/file bs=1M count=60 2>/dev/null; sleep 30"
ESCAPE = f"(setsid sh -c '{FILL}' &) ; sleep 30"
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "HOME": str(PLACE),
    "TMPDIR": str(PLACE),
    "CWL_USERSPACE_HOME": str(PLACE / "store"),
}


def mount_all(store: str) -> None:
    """A host as its boot would leave it, with a store that its users can read."""
    syscalls.mount("proc", "/proc", "proc")
    syscalls.mount("sysfs", "/sys", "sysfs")
    syscalls.mount("cgroup2", str(CGROUPS), "cgroup2")
    syscalls.mount("tmpfs", str(PLACE), "tmpfs")
    shutil.copytree(store, PLACE / "store", symlinks=True)
    (CGROUPS / "cgroup.subtree_control").write_text("+memory +cpu")
    for place in (sys.base_prefix, sys.prefix, os.getcwd()):
        make_reachable(Path(place))
    for path in (PLACE, *PLACE.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)


def make_reachable(path: Path) -> None:
    """Have a place of the host be where it is, below directories that every user may pass."""
    for above in list(path.parents)[::-1]:
        if not above.stat().st_mode & 0o001:
            aside = PLACE / "aside"
            aside.mkdir(exist_ok=True)
            syscalls.mount(str(path), str(aside), None, syscalls.MS_BIND)
            syscalls.mount("tmpfs", str(above), "tmpfs", 0, "mode=0755")
            path.mkdir(parents=True, exist_ok=True)
            syscalls.mount(str(aside), str(path), None, syscalls.MS_BIND)
            syscalls.umount(str(aside))
            return


def cgroup(path: Path, enabled: str = "") -> Path:
    """A cgroup that the user may divide, as systemd delegates one."""
    path.mkdir()
    if enabled:
        (path / "cgroup.subtree_control").write_text(enabled)
    for name in (".", "cgroup.procs", "cgroup.subtree_control"):
        os.chown(path / name, USER, USER)
    return path


def run(command: str, place: Path | None, *words: str) -> dict[str, object]:
    """One run as the user, started in a cgroup, or as root where we are."""

    def enter() -> None:
        if place is not None:
            (place / "cgroup.procs").write_text("0")
            os.setgroups([])
            os.setgid(USER)
            os.setuid(USER)

    done = subprocess.run(
        [command, "--engine", "userns", "run", *words],
        env=ENVIRONMENT,
        preexec_fn=enter,
        capture_output=True,
        text=True,
    )
    return {
        "code": done.returncode,
        "out": done.stdout,
        "err": done.stderr,
        "left": [str(path) for path in CGROUPS.rglob("cwl-userspace-*")],
    }


def cases(command: str) -> dict[str, object]:
    """Every case by its name."""
    memory = ("-m", "40m", "busybox", "sh", "-c")
    found: dict[str, object] = {"root": run(command, None, *memory, FILL)}
    above = cgroup(CGROUPS / "delegated", "+memory +cpu")
    session = cgroup(above / "session")
    found["escaped"] = run(command, session, *memory, ESCAPE)
    loop = ("busybox", "sh", "-c", "trap 'times; exit' TERM; while :; do :; done")
    found["slowed"] = run(command, session, "--cpus=0.2", "--timeout=6", *loop)
    found["alone"] = run(command, cgroup(CGROUPS / "scope"), *memory, FILL)
    (above / "cwl-userspace-999999-of-a-killed-run").mkdir()
    found["swept"] = run(command, session, *memory, "cat /proc/self/cgroup; nproc")
    return found


def main() -> None:
    """Never returns: there is nothing to return to."""
    try:
        mount_all(sys.argv[1])
        print("RESULT", json.dumps(cases(sys.argv[2])), flush=True)
    except BaseException as error:
        traceback.print_exc(file=sys.stdout)
        print("RESULT", json.dumps({"error": repr(error)}), flush=True)
    Path("/proc/sysrq-trigger").write_text("o")
    time.sleep(60)


if __name__ == "__main__":
    main()

"""Ask the user's systemd for a cgroup of our own: a transient scope with this process in it.

It is what ``systemd-run --user --scope`` does, but for a process that runs already, so that it
can be given up after a moment where nobody answers.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# A manager that works answers within some 20 ms.
_PATIENCE = 2.0
_PAUSE = 0.005
_KILL = 9


def user_manager(environ: Mapping[str, str]) -> str:
    """Why the user has no systemd to ask; an empty text if there seems to be one."""
    directory = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if not os.path.exists(f"{directory}/systemd/private"):
        return f"no systemd of the user runs ({directory}/systemd/private is missing)"
    if not os.path.exists(f"{directory}/bus"):
        return f"the user has no message bus ({directory}/bus is missing)"
    if not _busctl(environ):
        return "there is no program busctl"
    return ""


def enter(environ: Mapping[str, str], patience: float = _PATIENCE) -> bool:
    """Move this process to a new scope that it may divide; False if that failed in time."""
    directory = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    before = _membership()
    name = f"cwl-userspace-{os.getpid()}-{os.urandom(4).hex()}.scope"
    argv = [
        *("busctl", "--user", "--quiet", f"--timeout={patience:g}", "call"),
        *("org.freedesktop.systemd1", "/org/freedesktop/systemd1"),
        *("org.freedesktop.systemd1.Manager", "StartTransientUnit"),
        # A name, what to do with another of that name, two properties, no further units.
        *("ssa(sv)a(sa(sv))", name, "fail", "2"),
        *("PIDs", "au", "1", str(os.getpid())),
        *("Delegate", "b", "true"),
        "0",
    ]
    bus = {"XDG_RUNTIME_DIR": directory, "PATH": environ.get("PATH", os.defpath)}
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        streams = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
        pid = os.posix_spawn(_busctl(environ), argv, bus, file_actions=streams)
    except OSError:
        return False
    finally:
        os.close(null)
    end = time.monotonic() + patience
    # The answer only says that a job was made; it is done when we are elsewhere.
    return _ended_well(pid, end) and _until(lambda: _membership() != before, end)


def _ended_well(pid: int, end: float) -> bool:
    status: list[int] = []

    def ended() -> bool:
        found, value = os.waitpid(pid, os.WNOHANG)
        status.append(value)
        return found == pid

    if _until(ended, end):
        return status[-1] == 0
    os.kill(pid, _KILL)
    os.waitpid(pid, 0)
    return False


def _until(done: Callable[[], bool], end: float) -> bool:
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE)
    return True


def _membership() -> str:
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _busctl(environ: Mapping[str, str]) -> str:
    for directory in environ.get("PATH", os.defpath).split(":"):
        path = os.path.join(directory, "busctl")
        if directory and os.access(path, os.X_OK):
            return path
    return ""

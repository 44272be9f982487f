"""Find an engine's own program, and try it on a root with nothing but the status shim in it."""

from __future__ import annotations

import os
import subprocess
import tempfile

from cwl_userspace.engines.probe import UNKNOWN_MACHINE
from cwl_userspace.engines.status import status_program
from cwl_userspace.kernel.syscalls import known_machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_PATIENCE = 20.0
# Without a descriptor to read from the shim can do nothing but exit with this.
_STARTED = 125


def try_out(path: str, hint: str, examine: Callable[[str], Mapping[str, Any]]) -> dict[str, Any]:
    """What ``examine`` finds out with a directory in which ``root/shim`` is a program, as facts.

    Without a program at ``path`` or on an unknown machine the fact ``reason`` says so.
    """
    if not known_machine():
        return {"reason": UNKNOWN_MACHINE}
    if not path:
        return {"reason": hint}
    machine = os.uname().machine
    with tempfile.TemporaryDirectory(prefix="cwl-userspace-probe-") as directory:
        root = os.path.join(directory, "root")
        for name in ("dev", "proc", "tmp", "sys", "bound"):
            os.makedirs(os.path.join(root, name))
        shim = os.path.join(root, "shim")
        with open(shim, "wb") as file:
            file.write(status_program(machine))
        os.chmod(shim, 0o755)
        return {"reason": "", "machine": machine, **examine(directory)}


def failure(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """Why a command that should start the shim does not; empty if it does."""
    try:
        done = subprocess.run(
            command,
            env=dict(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} does not answer"
    except OSError as error:
        return f"{command[0]} cannot be run: {error.strerror}"
    if done.returncode == _STARTED:
        return ""
    said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    return f"{command[0]} cannot start a program here: {said}"


def help_of(path: str) -> str:
    """What a program says of its options; empty if it says nothing."""
    try:
        done = subprocess.run(
            [path, "--help"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr

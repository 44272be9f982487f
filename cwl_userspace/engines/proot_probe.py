"""Find out what a proot can do here, by running it on a root with one static program in it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import Any

from cwl_userspace.engines.probe import UNKNOWN_MACHINE
from cwl_userspace.engines.status import status_program
from cwl_userspace.guard import Guard
from cwl_userspace.kernel import landlock, seccomp
from cwl_userspace.kernel.syscalls import known_machine, set_no_new_privs

_PATIENCE = 20.0


def examine(path: str, hint: str) -> dict[str, Any]:
    """Facts about the proot at ``path``; ``reason`` says why it cannot be used, or is empty."""
    facts: dict[str, Any] = {
        "reason": "",
        "kill_on_exit": False,
        "accelerated": False,
        "machine": os.uname().machine,
        "landlock": landlock.abi(),
        "seccomp": seccomp.available(),
        "mode_guard": False,
    }
    if not known_machine():
        return {**facts, "reason": UNKNOWN_MACHINE}
    if not path:
        return {**facts, "reason": f"there is no proot; {hint}"}
    try:
        shown = _run([path, "--help"], {})
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not answer"
        return {**facts, "reason": f"{path} cannot be run: {reason}; {hint}"}
    facts["kill_on_exit"] = "--kill-on-exit" in shown.stdout
    with tempfile.TemporaryDirectory(prefix="cwl-userspace-probe-") as directory:
        facts.update(_try(path, directory, facts["machine"]))
    facts["mode_guard"] = mode_guard_works()
    return facts


def _try(path: str, directory: str, machine: str) -> dict[str, Any]:
    """Run the status shim, which without a command exits with 125: no other program is needed."""
    root = os.path.join(directory, "root")
    os.mkdir(root)
    program = os.path.join(root, "program")
    with open(program, "wb") as file:
        file.write(status_program(machine))
    os.chmod(program, 0o755)
    command = [path, "-r", root, "-w", "/", "/program"]
    own = {"PROOT_TMP_DIR": directory}
    plain = _run(command, {**own, "PROOT_NO_SECCOMP": "1"})
    if plain.returncode != 125:
        said = (plain.stderr.strip().splitlines() or [f"status {plain.returncode}"])[-1]
        return {"reason": f"{path} cannot start a program here: {said}"}
    version = _run([path, "--version"], {}).stdout
    offers = "seccomp_filter = yes" in version
    return {"accelerated": offers and _run(command, own).returncode == 125}


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_PATIENCE,
        errors="replace",
    )


def mode_guard_works() -> bool:
    """True if this kernel lets a process hear of a child's calls (5.6 and newer)."""

    def install_and_wait() -> None:
        set_no_new_privs()
        guard.install()

    guard = Guard(())
    child = os.fork()
    if child == 0:
        try:
            install_and_wait()
        finally:
            os._exit(0)
    try:
        guard.adopt(child)
    except OSError:
        return False
    finally:
        os.waitpid(child, 0)
    if guard.listener >= 0:
        os.close(guard.listener)
    return guard.listener >= 0

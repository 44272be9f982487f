"""Find out what a proot can do here, by running it: a static program on a root of its own, and
an interpreter that exercises it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from typing import Any

from cwl_userspace.engines.probe import UNKNOWN_MACHINE
from cwl_userspace.engines.proot_exercise import EXERCISE, LOOP
from cwl_userspace.engines.status import status_program
from cwl_userspace.guard import Guard
from cwl_userspace.kernel import landlock, modeguard, seccomp
from cwl_userspace.kernel.syscalls import known_machine, set_no_new_privs

_PATIENCE = 20.0


def examine(path: str, hint: str) -> dict[str, Any]:
    """Facts about the proot at ``path``; ``reason`` says why it cannot be used, or is empty."""
    facts: dict[str, Any] = {
        "reason": "",
        "kill_on_exit": False,
        "accelerated": False,
        "not_accelerated": "",
        "version": "",
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
    found = re.search(r"v?([0-9]+\.[0-9]+(\.[0-9]+)?)\S*\s*$", version, re.MULTILINE)
    problem = "it was built without" if "seccomp_filter = yes" not in version else ""
    problem = problem or _exercised(path, directory)
    return {
        "version": found[1] if found else "",
        "accelerated": not problem,
        "not_accelerated": problem,
    }


def best(paths: list[str], hint: str) -> dict[str, Any]:
    """The facts of the best of some proots, under ``path`` which it is: the first that is
    accelerated, else the first that works, else the first.
    """
    found = []
    for path in paths or [""]:
        facts = {**examine(path, hint), "path": path}
        if facts["accelerated"]:
            return facts
        found.append(facts)
    return next((facts for facts in found if not facts["reason"]), found[0])


def _exercised(path: str, directory: str) -> str:
    """What goes wrong with this proot's acceleration on this kernel; empty if nothing does.

    Some versions of both hang, or lose a call's result, and only now and then: so it must do
    many things, of many processes, and all of them right, under the filters of a real run.
    """
    place, seen = (os.path.join(directory, name) for name in ("place", "seen"))
    os.mkdir(place)
    os.mkdir(seen)
    script = [sys.executable, "-I", "-S", "-c", EXERCISE, place]
    right = _run([*script, place], {}).stdout
    command = [path, "-r", "/", "-b", f"{place}:{seen}!", "-w", "/", *script, seen]
    own = {"PROOT_TMP_DIR": directory}
    if not right:
        return "it could not be tried"
    try:
        done = _run(command, own, guarded=seccomp.available())
    except subprocess.TimeoutExpired:
        return "it hangs on this kernel"
    if done.returncode or done.stdout != right:
        return "it gives wrong results on this kernel"
    return ""


def measure(path: str, accelerated: bool) -> tuple[float, float] | None:
    """How many times as long a system call takes in this proot: one that names a file, another.

    None where the loop did not come to its end.
    """
    own = {} if accelerated else {"PROOT_NO_SECCOMP": "1"}
    script = [sys.executable, "-I", "-S", "-c", LOOP]
    bare = _run(script, {}).stdout.split()
    with tempfile.TemporaryDirectory(prefix="cwl-userspace-probe-") as directory:
        own["PROOT_TMP_DIR"] = directory
        command = [path, "-r", "/", "-w", "/", *script]
        try:
            inside = _run(command, own, guarded=seccomp.available()).stdout.split()
        except subprocess.TimeoutExpired:
            return None
    if len(inside) != 2 or len(bare) != 2:
        return None
    naming, other = (float(a) / float(b) for a, b in zip(inside, bare, strict=True))
    return naming, other


def _run(
    command: list[str], environment: dict[str, str], guarded: bool = False
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        preexec_fn=_guard_paths if guarded else None,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_PATIENCE,
        errors="replace",
    )


def _guard_paths() -> None:
    set_no_new_privs()
    seccomp.install(seccomp.untranslated_paths(os.uname().machine))


def mode_guard_works() -> bool:
    """True if this kernel lets a process hear of a child's calls (5.6 and newer)."""
    if not modeguard.can_find():
        return False

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

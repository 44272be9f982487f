"""Find out whether this host's libfakechroot works, and which C library it needs."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

from cwl_userspace.engines.probe import UNKNOWN_MACHINE
from cwl_userspace.engines.proot_probe import mode_guard_works
from cwl_userspace.kernel import landlock, seccomp
from cwl_userspace.kernel.syscalls import known_machine

_PATIENCE = 20.0
# With FAKECHROOT_DETECT the library says its name and ends the program with this status.
_DETECTED = 17
_VERSION = re.compile(rb"GLIBC_2\.[0-9.]+")


def examine(library: str, hint: str) -> dict[str, Any]:
    """Facts about a library; ``reason`` says why it cannot be used, or is empty.

    ``needs`` are the versions of glibc's symbols that it is linked to.
    """
    facts: dict[str, Any] = {
        "reason": "",
        "needs": [],
        "machine": os.uname().machine,
        "landlock": landlock.abi(),
        "seccomp": seccomp.available(),
        "mode_guard": False,
    }
    if not known_machine():
        return {**facts, "reason": UNKNOWN_MACHINE}
    if not library:
        return {**facts, "reason": f"there is no libfakechroot.so; {hint}"}
    said = _detect(library)
    if said:
        return {**facts, "reason": f"{library} cannot be used: {said}; {hint}"}
    with open(library, "rb") as file:
        facts["needs"] = sorted({version.decode() for version in _VERSION.findall(file.read())})
    facts["mode_guard"] = mode_guard_works()
    return facts


def _detect(library: str) -> str:
    """Why the library does not act on a program of this host; empty if it does."""
    try:
        shown = subprocess.run(
            ["/bin/sh", "-c", "exit 0"],
            env={"LD_PRELOAD": library, "FAKECHROOT_DETECT": str(_DETECTED)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return "it does not answer"
    if shown.returncode == _DETECTED and shown.stdout.startswith("fakechroot"):
        return ""
    return (shown.stderr.strip().splitlines() or ["it does not act on programs here"])[-1]

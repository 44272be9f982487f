"""Finds the host's programs, and gets or names the Debian packages of those that are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from conformance.problem import Problem

# Only where a program is not in the package of its own name.
_PACKAGES = {"node": "nodejs"}


def require_programs(*programs: str) -> None:
    """Returns when all are on PATH; as root it first asks apt for those that are missing."""
    if _missing(programs) and os.geteuid() == 0 and shutil.which("apt-get"):
        _install([_PACKAGES.get(one, one) for one in _missing(programs)])
    missing = _missing(programs)
    if missing:
        packages = " ".join(_PACKAGES.get(one, one) for one in missing)
        raise Problem(
            f"not found on PATH: {', '.join(missing)}",
            f"ask whoever administers this host for: apt-get install {packages}",
        )


def _missing(programs: Sequence[str]) -> list[str]:
    return [one for one in programs if not shutil.which(one)]


def _install(packages: Sequence[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    # A fresh host has no package lists; the others need not wait for new ones.
    for words in (install, ["apt-get", "update"], install):
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if words is install and done.returncode == 0:
            return
    raise Problem(
        f"apt-get could not install {' '.join(packages)}: {done.stderr.strip()[-200:]}",
        f"see what this says: apt-get install {' '.join(packages)}",
    )

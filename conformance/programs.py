"""Finds the host's programs, and gets or names the Debian packages of those that are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from conformance.problem import Problem

# Only where a program is not in the package of its own name.
_PACKAGES = {
    "bwrap": "bubblewrap",
    "ch-image": "charliecloud-builders",
    "ch-run": "charliecloud-runtime",
    "newuidmap": "uidmap",
    "node": "nodejs",
}


def require_programs(*programs: str) -> None:
    """Returns when all are on PATH; as root it first asks apt for those that are missing."""
    if _missing(programs) and os.geteuid() == 0 and shutil.which("apt-get"):
        _install(_packages(_missing(programs)))
    missing = _missing(programs)
    if missing:
        packages = " ".join(_packages(missing))
        raise Problem(
            f"not found on PATH: {', '.join(missing)}",
            f"ask whoever administers this host for: apt-get install {packages}",
        )


def wish_for_programs(*programs: str) -> None:
    """As require_programs, but says what goes on being missing, and does without."""
    try:
        require_programs(*programs)
    except Problem as problem:
        print(f"doing without: {problem}; {problem.hint}", file=sys.stderr)


def _packages(programs: Sequence[str]) -> list[str]:
    return [_PACKAGES.get(one, one) for one in programs]


def _missing(programs: Sequence[str]) -> list[str]:
    # A user's PATH lacks the last two, and all that we start gets them.
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [one for one in programs if not shutil.which(one, path=path)]


def _install(packages: Sequence[str]) -> None:
    print(f"installing {' '.join(packages)}", file=sys.stderr)
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

"""What the figures are of: the machine, the versions of all that was measured, and who else ran."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance.versions import commit

_PROGRAMS = (
    *("bwrap", "proot", "runc", "crun", "ch-run", "ch-image", "podman", "udocker", "skopeo"),
    *("umoci", "fakechroot", "unshare", "apptainer", "singularity", "docker-registry", "curl"),
    *("gzip", "tar", "strace", "cwltool"),
)
_IDLE = ("idle", "iowait", "steal")
# So many processors busy with other work are too many.
BUSY = 0.25
_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def describe(scratch: Path) -> dict[str, Any]:
    """Everything that a reader must know to compare with a machine of his own."""
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "python": platform.python_version(),
        "file system": file_system(scratch),
        "commit": commit(),
        "versions": dict(_versions()),
    }


def load() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def others(seconds: float = 5.0) -> float:
    """How many processors are busy while nothing of ours runs: looks on for so long.

    Unlike the load average it knows nothing of what we did just before.
    """
    start, busy = time.monotonic(), _busy()
    time.sleep(seconds)
    return round((_busy() - busy) / (time.monotonic() - start), 2)


def _busy() -> float:
    counted = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    ticks = dict(zip(_FIELDS, map(int, counted), strict=False))
    return sum(n for name, n in ticks.items() if name not in _IDLE) / os.sysconf("SC_CLK_TCK")


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def file_system(place: Path) -> str:
    """The kind of the file system that a place is on."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, name, *_ = line.split(" ")
        if place.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, name
    return kind


def _versions() -> Iterator[tuple[str, str]]:
    """Of every program that is here, or that it is not."""
    scripts = os.path.dirname(sys.executable)
    for program in _PROGRAMS:
        path = shutil.which(program, path=f"{scripts}:{os.environ.get('PATH', '')}")
        yield program, _number(path) if path else ""


def _number(program: str) -> str:
    # Programs of the system are to find the system's Python, and not one of ours.
    variables = {**os.environ, "PATH": f"/usr/bin:/bin:{os.environ.get('PATH', '')}"}
    words = [program, "--version"]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=60, env=variables
        )
    except (OSError, subprocess.TimeoutExpired):
        return "here, but does not start"
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found.group() if found else "here"

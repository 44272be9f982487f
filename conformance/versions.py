"""With what a cell ran: ours, the runner's, the engines' and the host's versions."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from conformance.doors import Door

_TOP = Path(__file__).parent.parent
_PROGRAMS = ("proot", "node", "git")

# Asked of the Python that the runner belongs to; `code` changes with any of our modules.
_ASK = """
import hashlib, importlib.metadata, json, pathlib, platform
found = {"python": platform.python_version()}
for name in ("cwl-userspace", "cwltool", "cwltest", "toil"):
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
try:
    import cwl_userspace
    sums = hashlib.sha256()
    place = pathlib.Path(cwl_userspace.__file__).parent
    for path in sorted(place.rglob("*.py")):
        sums.update(str(path.relative_to(place)).encode() + b"\\0" + path.read_bytes())
    found["code"] = sums.hexdigest()[:12]
except ImportError:
    pass
print(json.dumps(found))
"""


def collect(door: Door) -> dict[str, str]:
    """All versions by name, in the order in which they are shown; what is not here is left out."""
    home = os.environ.get(door.home) if door.home else None
    python = str(Path(home, "bin", "python")) if home else sys.executable
    asked = _said([python, "-c", _ASK])
    found: dict[str, str] = json.loads(asked) if asked else {}
    # cwltest runs here, whatever the runner's environment is.
    if "cwltest" not in found:
        found.update(cwltest=json.loads(_said([sys.executable, "-c", _ASK]))["cwltest"])
    found["commit"] = commit()
    for program in _PROGRAMS[:2]:
        found[program] = _number(program)
    found["kernel"] = platform.release()
    found["system"] = _system()
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    return {name: version for name, version in found.items() if version}


def key(versions: Mapping[str, str], *others: str) -> str:
    """One digest of all that a test's result depends on."""
    told = {name: value for name, value in versions.items() if name != "commit"}
    text = json.dumps([told, *others], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def commit() -> str:
    """The commit of this checkout, with a plus where files differ from it; nothing elsewhere."""
    if not shutil.which("git") or not (_TOP / ".git").exists():
        return ""
    git = ["git", "-c", "safe.directory=*", "-C", str(_TOP)]
    found = _said([*git, "rev-parse", "--short=12", "HEAD"])
    return found + ("+" if found and _said([*git, "status", "--porcelain", "-uno"]) else "")


def _number(program: str) -> str:
    """The first version number in what a program says of itself."""
    found = re.search(r"\d+(\.\d+)+", _said([program, "--version"]))
    return found.group() if found else ""


def _said(words: list[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()

"""Images of dynamic programs: the host's own, with the libraries that they are linked to."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.containers import GROUP, PASSWD, Tar

# Enough to write scripts with: a shell, and what looks at and changes files.
PROGRAMS = (
    *("cat", "chmod", "chown", "cp", "env", "head", "id", "kill", "ln", "ls", "mkdir", "mknod"),
    *("mv", "readlink", "rm", "rmdir", "sleep", "stat", "touch", "true"),
)


def linked(program: str) -> list[str]:
    """The files that ld.so loads for a dynamic program, and ld.so itself (ld.so(8), --list)."""
    shown = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    words = (line.partition("=>")[2] or line for line in shown.splitlines())
    return [word.split()[0] for word in words if word.strip().startswith("/")]


def compiled(place: Path, name: str, source: str, *options: str) -> Path:
    """A program or library made of C."""
    text = place / f"{name}.c"
    text.write_text(source)
    result = place / name
    subprocess.run(["gcc", "-o", result, text, *options], check=True)
    return result


def dynamic_layer(programs: Sequence[str] = PROGRAMS, own: Sequence[Path] = ()) -> Tar:
    """A small system of the host's dynamic programs, dash as its shell; ``own`` go to /bin too."""
    files = {"bin/sh": shutil.which("dash"), "bin/dash": shutil.which("dash")}
    files |= {f"bin/{name}": shutil.which(name) for name in programs}
    files |= {f"bin/{path.name}": str(path) for path in own}
    sources = {name: str(path) for name, path in files.items()}
    for program in list(sources.values()):
        sources |= {path.lstrip("/"): path for path in linked(program)}
    tar = Tar()
    above = {parent for name in sources for parent in _parents(name)}
    for name in sorted(above | {"etc", "home", "var", "data", "dev", "proc", "usr", "usr/bin"}):
        tar.directory(name)
    tar.directory("tmp", 0o1777).directory("root", 0o700).directory("var/tmp", 0o1777)
    for name, path in sources.items():
        tar.file(name, Path(path).read_bytes(), 0o755)
    return tar.file("etc/passwd", PASSWD.encode()).file("etc/group", GROUP.encode())


def _parents(name: str) -> list[str]:
    """Every directory above a name, the topmost first."""
    parts = os.path.dirname(name).split("/")
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]

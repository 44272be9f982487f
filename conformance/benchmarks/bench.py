"""What all parts share: where things are, how much is wanted, and the images."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from conformance.benchmarks.machine import file_system
from conformance.images import ensure
from conformance.layout import Layout
from conformance.problem import Problem
from conformance.screen import Line
from cwl_userspace.image.confine import remove_tree

# As it is called in documents, and as layouts call it.
IMAGE = "debian:stable-slim"
_LIBRARY = "docker.io/library/"
OWN = "docker.io/cwluserspace/"
BENCH, WHOLE, BIO = f"{OWN}bench:1", f"{OWN}whole:1", f"{OWN}bio:1"


class Bench(NamedTuple):
    """One call of the command."""

    # What stays, and what is made and removed while it measures: best a tmpfs.
    work: Path
    scratch: Path
    # Where images are looked for before they are built.
    layouts: tuple[Path, ...] = ()
    quick: bool = False
    # 0 is what each part thinks right.
    turns: int = 0
    # Names of ways, or parts of them unless they are exact; without any all that are here.
    ways: tuple[str, ...] = ()
    exact: bool = False
    # How far the parts go in which something grows.
    jobs: tuple[int, ...] = ()
    files: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    pullers: tuple[int, ...] = ()
    mounts: tuple[int, ...] = ()

    def number(self, usual: int, quick: int) -> int:
        """How many turns a part takes."""
        return self.turns or (quick if self.quick else usual)

    def wants(self, name: str, *needed: str) -> bool:
        """Whether this way is to be measured; those needed are always."""
        if not self.ways or name in needed or name in self.ways:
            return True
        return not self.exact and any(part in name for part in self.ways)

    def layout(self, name: str) -> Path:
        """A layout with the image, which is built if none has it. Raises a Problem if it cannot."""
        return self._has(name) or self.build([name])

    def build(self, names: Iterable[str]) -> Path:
        """Build those of these images that no layout has; where they then are. Raises a Problem."""
        own = self.work / "images"
        missing = [full_name(name) for name in names if not self._has(name)]
        if missing:
            print(f"building {', '.join(missing)}: minutes", file=sys.stderr)
            ensure(missing, own, Line())
        return own

    def _has(self, name: str) -> Path | None:
        places = (*self.layouts, self.work / "images")
        found = (one for one in places if one.is_dir() and Layout(one).find(full_name(name)))
        return next(found, None)


@contextmanager
def room(scratch: Path) -> Iterator[Path]:
    """An empty directory, which is gone afterwards, whatever the modes and owners in it."""
    # podman wants paths of at most fifty characters.
    path = tempfile.mkdtemp(prefix="", dir=scratch)
    try:
        yield Path(path)
    finally:
        _remove(path)


# Where most hosts have a file system in memory that everybody may write to.
_MEMORY = Path("/dev/shm")


@contextmanager
def scratch(work: Path, room_for: int) -> Iterator[Path]:
    """Where things are made and removed: in memory, if so many bytes have room, or below ``work``.

    In which case it says so: ratios depend on what a file system makes of many small files.
    """
    own = work / "scratch"
    own.mkdir(parents=True, exist_ok=True)
    if file_system(own) == "tmpfs":
        yield own
        return
    flags = os.statvfs(_MEMORY).f_flag if _MEMORY.is_dir() else os.ST_RDONLY
    fit = not flags & (os.ST_RDONLY | os.ST_NOEXEC) and file_system(_MEMORY) == "tmpfs"
    if fit and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= room_for:
        with room(_MEMORY) as place:
            yield place
        return
    print(
        f"measuring on {file_system(own)}, for want of {room_for >> 30} GB of tmpfs in {_MEMORY}:"
        " ratios will differ from those of a tmpfs; --scratch DIR names another place",
        file=sys.stderr,
    )
    yield own


def _remove(path: str) -> None:
    """All of it, also what podman has given to subordinate ids: then it takes podman's rights."""
    try:
        remove_tree(path)
    except PermissionError:
        subprocess.run(["podman", "unshare", "rm", "-rf", path], check=True, capture_output=True)


def full_name(name: str) -> str:
    """As layouts have it."""
    return name if name.startswith("docker.io/") else f"{_LIBRARY}{name}"


def ours() -> str:
    """The command of this Python's environment. Raises a Problem if it is not there."""
    path = shutil.which("cwl-userspace")
    if not path:
        raise Problem("cwl-userspace is not on PATH", "install it into this environment")
    return path


def tree(image: str) -> str:
    """Where the unpacked files of an image are that the store has, or can pull."""
    for verb in (["pull", "-q"], ["inspect", "-p"]):
        done = subprocess.run([ours(), *verb, image], capture_output=True, text=True)
        if done.returncode:
            raise Problem(f"{image}: {done.stderr.strip()}")
    return os.path.realpath(done.stdout.strip())


def end(work: Path) -> None:
    """End what podman leaves behind, which would hold on to the scratch for ever."""
    for path in (work / "run").rglob("pause.pid"):
        with contextlib.suppress(OSError, ValueError):
            process = int(path.read_text())
            if Path(f"/proc/{process}/comm").read_text().strip() == "podman":
                os.kill(process, signal.SIGKILL)
            path.unlink()


def begin(bench: Bench) -> None:
    """Make the places, and have all programs of this process keep what they keep in them.

    Changes our environment: whatever is measured here is to write nowhere else.
    """
    places = {name: bench.scratch / name for name in ("home", "tmp", "store")}
    run = bench.work / "run"
    for place in (run, *places.values()):
        place.mkdir(parents=True, exist_ok=True, mode=0o755)
    run.chmod(0o700)
    end(bench.work)
    mirrors = [f"oci:{place.resolve()}" for place in (*bench.layouts, bench.work / "images")]
    config = bench.work / "config.yml"
    config.write_text(json.dumps({"registries": {"docker.io": {"mirrors": mirrors}}}))
    os.environ |= {
        "PATH": f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        "HOME": str(places["home"]),
        "USER": pwd.getpwuid(os.getuid()).pw_name,
        "TMPDIR": str(places["tmp"]),
        "XDG_RUNTIME_DIR": str(run),
        "UDOCKER_DIR": str(bench.scratch / "udocker"),
        "CWL_USERSPACE_HOME": str(places["store"]),
        "CWL_USERSPACE_CONFIG": str(config),
    }
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        os.environ.pop(name, None)
    tempfile.tempdir = None

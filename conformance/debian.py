"""Makes Debian root file systems with mmdebstrap, from the archive that this host itself uses."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from conformance.layer import Entry, epoch, from_tar
from conformance.problem import Problem
from conformance.programs import require_programs

Progress = Callable[[str], None]

# What a container never reads; licences stay.
_SMALLER = (
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)


def require_mmdebstrap() -> None:
    """To be called once before the rest of this module, which may run in several threads."""
    as_user = [] if _is_capable_root() else ["fakechroot", "fakeroot"]
    require_programs("dpkg", "mmdebstrap", *as_user)


def architecture() -> str:
    """Debian's name of this machine's architecture."""
    words = ["dpkg", "--print-architecture"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def build_entries(
    packages: Sequence[str],
    progress: Progress,
    folders: Sequence[str] = (),
    leave_out: Sequence[str] = _SMALLER,
) -> Iterator[Entry]:
    """A minimal Debian system with these packages, as the entries of its layer.

    ``folders`` are made first: some packages expect those of what is left out.
    """
    started = int(time.time())
    include = [f"--include={','.join(packages)}"] if packages else []
    # A target of "-" is a tar on stdout.
    made = [f'--setup-hook=mkdir -p "$1/{folder}"' for folder in folders]
    words = [*_mmdebstrap("minbase"), *include, *leave_out, *made, suite(), "-", *apt_sources()]
    with _running(words, progress) as tar:
        yield from from_tar(tar, started)


def grown_entries(
    packages: Sequence[str], progress: Progress, there: dict[str, tuple[object, ...]]
) -> Iterator[Entry]:
    """The same with all documentation, but only what is new since the last call with ``there``.

    What the packages' own scripts have made is always new: its time does not tell.
    """
    found = {}
    for entry in build_entries(packages, progress, leave_out=()):
        name = entry.header.name
        found[name] = _facts(entry)
        if entry.header.mtime == epoch() or there.get(name) != found[name]:
            yield entry
    there.clear()
    there.update(found)


def _facts(entry: Entry) -> tuple[object, ...]:
    header = entry.header
    return header.type, header.mode, header.size, header.linkname, header.mtime


def extract(packages: Sequence[str], target: Path, progress: Progress) -> None:
    """Only the files of these packages and of their dependencies, nothing set up."""
    include = f"--include={','.join(packages)}"
    words = [*_mmdebstrap("extract"), include, "--format=directory", suite(), str(target)]
    with _running([*words, *apt_sources()], progress):
        pass


def suite() -> str:
    """This host's release, which its own package lists serve."""
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("VERSION_CODENAME") or "stable"
    return "stable"


def apt_sources(etc: Path = Path("/etc/apt")) -> list[str]:
    """The host's own lists of this release; with none mmdebstrap takes the archive's default.

    A list that does not have our suite is somebody else's archive: no part of an image.
    """
    parts = etc / "sources.list.d"
    lists = [etc / "sources.list", *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    ours = re.compile(rf"^[^#\n]*\s{re.escape(suite())}(\s|$)", re.MULTILINE)
    return [str(one) for one in lists if one.is_file() and ours.search(one.read_text())]


def _mmdebstrap(variant: str) -> list[str]:
    mode = "root" if _is_capable_root() else "fakechroot"
    return ["mmdebstrap", f"--mode={mode}", f"--variant={variant}"]


def _is_capable_root() -> bool:
    """Whether we are a root who may mount and chown: inside a container one often may not."""
    if os.geteuid() != 0:
        return False
    id_map = Path("/proc/self/uid_map").read_text()
    mapped = sum(int(line.split()[2]) for line in id_map.splitlines())
    mount = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return mapped >= 65536 and mount.returncode == 0


@contextlib.contextmanager
def _running(words: list[str], progress: Progress) -> Iterator[IO[bytes]]:
    """The command's stdout; the command must end well for the body to have been worth it."""
    progress("starting mmdebstrap")
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Packages count on the usual umask, and we on English messages.
        umask=0o022,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert process.stdout and process.stderr
    said: list[str] = []
    reader = threading.Thread(target=_follow, args=(process.stderr, said, progress))
    reader.start()
    cut_short: tarfile.TarError | None = None
    try:
        yield process.stdout
        process.stdout.read()
    except tarfile.TarError as error:
        cut_short = error
    except BaseException:
        process.terminate()
        raise
    finally:
        process.stdout.close()
        status = process.wait()
        reader.join()
    if status != 0 or cut_short:
        raise Problem(
            f"mmdebstrap ended with status {status}: {_complaint(said)}",
            f"see what this says: {' '.join(words)} > /dev/null",
        ) from cut_short


def _follow(stderr: IO[bytes], said: list[str], progress: Progress) -> None:
    for raw in stderr:
        line = raw.decode(errors="replace").rstrip()
        said.append(line)
        if line.startswith("I: "):
            progress(line.removeprefix("I: ").rstrip("."))


def _complaint(said: Sequence[str]) -> str:
    errors = [line for line in said if line.startswith("E: ")]
    return "; ".join((errors or list(said))[-3:]) or "it said nothing"

"""Stands in for the Alpine and bash images: busybox and a static bash, laid out as those are."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from conformance.debian import Progress, extract
from conformance.layer import Entry, directory, file, symlink

_DIRECTORIES = (
    *("bin", "dev", "etc", "home", "lib", "media", "mnt", "opt", "proc", "run", "sbin"),
    *("srv", "sys", "usr", "var", "var/lib", "var/log"),
    *("usr/bin", "usr/lib", "usr/local", "usr/local/bin", "usr/sbin", "usr/share"),
)

_PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
bin:x:1:1:bin:/bin:/sbin/nologin
daemon:x:2:2:daemon:/sbin:/sbin/nologin
nobody:x:65534:65534:nobody:/:/sbin/nologin
"""

_GROUP = b"""\
root:x:0:root
bin:x:1:root,bin,daemon
daemon:x:2:root,bin,daemon
nobody:x:65534:
"""

_OS_RELEASE = b"""\
NAME="busybox, in the place of Alpine Linux"
ID=cwl-userspace-stand-in
"""

# What the official image's script does, as its documentation tells it.
_ENTRYPOINT = b"""\
#!/usr/local/bin/bash
# No arguments, or options only: they are bash's. Anything else is a command of its own.
if [ $# -eq 0 ] || [ "${1#-}" != "$1" ]; then
    set -- bash "$@"
fi
exec "$@"
"""


def alpine_entries(progress: Progress) -> Iterator[Entry]:
    """A root file system of busybox under all its names."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, "tree")
        extract(["busybox-static"], tree, progress)
        busybox = tree / "bin" / "busybox"
        names = _applets(busybox)
        yield from (directory(name) for name in sorted(_DIRECTORIES))
        yield directory("root", 0o700)
        yield directory("tmp", 0o1777)
        yield directory("var/tmp", 0o1777)
        yield file("etc/group", _GROUP)
        yield file("etc/os-release", _OS_RELEASE)
        yield file("etc/passwd", _PASSWD)
        yield file("bin/busybox", busybox.read_bytes(), 0o755)
        yield from (symlink(name, "/bin/busybox") for name in names)


def bash_entries(progress: Progress) -> Iterator[Entry]:
    """What the bash image adds to that: bash, and the script that every command passes through."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, "tree")
        extract(["bash-static"], tree, progress)
        bash = (tree / "bin" / "bash-static").read_bytes()
    yield file("usr/local/bin/bash", bash, 0o755)
    yield file("usr/local/bin/docker-entrypoint.sh", _ENTRYPOINT, 0o755)


def _applets(busybox: Path) -> list[str]:
    words = [str(busybox), "--list-full"]
    listed = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    # Debian's list has names outside these directories ("linuxrc"), and busybox itself.
    places = ("bin", "sbin", "usr/bin", "usr/sbin")
    return sorted(
        name for name in listed if name.rpartition("/")[0] in places and name != "bin/busybox"
    )

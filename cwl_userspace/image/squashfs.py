"""Squashfs files by Debian's squashfs-tools: ``mksquashfs`` and ``unsquashfs``.

The same tree gives the same bytes, by the same release of the program: nothing of the user, the
host, the time or the number of processors goes in (mksquashfs(1), "reproducible").
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from cwl_userspace.errors import ImageError, StoreError
from cwl_userspace.image import tar
from cwl_userspace.image.treetar import walk

MAGIC = b"hsqs"
_TOLD = 300
# How unsquashfs ends where all is there, but an owner that the caller cannot give, or the like
# (unsquashfs(1), "exit status").
_ATTRIBUTES = 2
# Where administrators' programs are, which are on no user's PATH.
_MORE = ("/usr/sbin", "/sbin", "/usr/local/sbin")


def pack(rootfs: str, target: str, environ: Mapping[str, str]) -> None:
    """Write a tree to a new squashfs file.

    Raise StoreError if it cannot be read or the program is not here, ImageError if that fails.
    """
    program = _program("mksquashfs", environ)
    _check_readable(rootfs)
    _run(
        [
            program,
            rootfs,
            target,
            "-noappend",
            "-no-progress",
            "-quiet",
            "-no-xattrs",
            "-all-root",
            "-mkfs-time", "0",
            "-comp", "zstd",  # Linux 4.14; ten times as fast as gzip, and smaller
            "-Xcompression-level", "6",
        ],
        environ,
        f"write {target}",
    )  # fmt: skip


def unpack(path: str, target: str, environ: Mapping[str, str], offset: int = 0) -> None:
    """Unpack a squashfs file into a directory that is not there yet.

    ``offset`` is where the squashfs begins in the file. Raise StoreError if the program is not
    here, ImageError if it fails.
    """
    program = _program("unsquashfs", environ)
    _run(
        [
            program,
            "-no-progress",
            "-no-xattrs",
            *(["-offset", str(offset)] if offset else []),
            "-dest", target,
            path,
        ],
        environ,
        f"unpack {path}",
        fine=(0, _ATTRIBUTES),
    )  # fmt: skip


def is_squashfs(path: str) -> bool:
    """True for a file that begins as a squashfs does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return os.path.isfile(path) and os.read(fd, len(MAGIC)) == MAGIC
    finally:
        os.close(fd)


def _program(name: str, environ: Mapping[str, str]) -> str:
    places = os.pathsep.join((environ.get("PATH", os.defpath), *_MORE))
    found = shutil.which(name, path=places)
    if found is None:
        raise StoreError(
            f"a squashfs file needs the program {name}, which is not here",
            "install squashfs-tools, or take a .tar.zst",
        )
    return found


def _check_readable(rootfs: str) -> None:
    """The program makes an empty file of what it cannot read."""
    for entry, path in walk(os.fsencode(rootfs)):
        closed = entry.kind == tar.REGULAR and not entry.mode & 0o400
        if closed and not os.access(path, os.R_OK, effective_ids=True):
            raise StoreError(
                f"{os.fsdecode(path)} is closed to its owner by its mode",
                "do it as root, or where there are user namespaces",
            )


def _run(
    command: Sequence[str], environ: Mapping[str, str], doing: str, fine: Sequence[int] = (0,)
) -> None:
    # SOURCE_DATE_EPOCH and -mkfs-time at once are an error.
    plain = {k: v for k, v in environ.items() if k not in ("SOURCE_DATE_EPOCH", "SQFS_CMDLINE")}
    done = subprocess.run(
        command,
        env={**plain, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode not in fine:
        said = " ".join(done.stdout.decode("utf-8", "replace").split())[-_TOLD:]
        name = os.path.basename(command[0])
        raise ImageError(
            f"cannot {doing}: {name} ended with {done.returncode}: {said}",
            "a .tar.zst needs no other program",
        )

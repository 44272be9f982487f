"""Programs of others that are kept beside the store: fetched, verified, published by one rename.

A program is known by its SHA-256, so a place that has it need not be trusted.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct

from cwl_userspace.errors import ContentMismatch, ImageError, StoreError, UsageError
from cwl_userspace.image.offline import from_web
from cwl_userspace.store.modes import make_directories
from cwl_userspace.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

DIRECTORY = "tools"
_HEX = re.compile(r"[0-9a-f]{64}")
# No proot is larger, and no answer that is not one fills the disk.
_LARGEST = 64 << 20
_CHUNK = 1 << 18
_ELF_MACHINES = {"x86_64": 62, "aarch64": 183}


class Source:
    """Where a program may be had, and the SHA-256 that it has."""

    __slots__ = ("sha256", "url")

    def __init__(self, url: str, sha256: str) -> None:
        """Raise UsageError for what is no SHA-256."""
        if not _HEX.fullmatch(sha256.lower()):
            raise UsageError(f"{sha256!r} is no SHA-256", "expected 64 hexadecimal digits")
        self.url = url
        self.sha256 = sha256.lower()


def keep(
    store: Store,
    name: str,
    sources: Sequence[Source],
    progress: Callable[[str], None],
    offline: bool,
) -> str:
    """The path of a program, fetched from the first source that has it; mode 0755.

    One that is there already is not fetched again. Raise the last source's error where none has
    it, and StoreError where there is no place to keep it.
    """
    directory = _directory(store)
    for source in sources:
        path = os.path.join(directory, f"{name}-{source.sha256}")
        if os.path.exists(path):
            return path
    for source in sources:
        try:
            return _fetch(store, directory, name, source, progress, offline)
        except (ImageError, UsageError):
            if source is sources[-1]:
                raise
    raise UsageError(f"no place to fetch {name} from", "give --url and --sha256")


def _directory(store: Store) -> str:
    """The directory for programs; raise StoreError where they could not be executed."""
    store.prepare()
    directory = os.path.join(store.path, DIRECTORY)
    try:
        make_directories(store.path, (DIRECTORY,))
    except OSError as error:
        raise store.failure(error, "keep programs") from None
    if os.statvfs(directory).f_flag & os.ST_NOEXEC:
        raise StoreError(
            f"no program can be executed in {directory}: its file system is mounted noexec",
            "set CWL_USERSPACE_HOME to another, or name a program elsewhere in the settings",
        )
    return directory


def _fetch(
    store: Store,
    directory: str,
    name: str,
    source: Source,
    progress: Callable[[str], None],
    offline: bool,
) -> str:
    aside = os.path.join(directory, f".{os.getpid()}-{os.urandom(6).hex()}")
    path = os.path.join(directory, f"{name}-{source.sha256}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(aside, flags, 0o600)
        try:
            _write(fd, _bytes(source.url, offline), source, progress)
            os.fchmod(fd, 0o755)
            os.fsync(fd)
        finally:
            os.close(fd)
        _check_format(aside, source.url)
        os.rename(aside, path)
    except OSError as error:
        raise store.failure(error, f"keep {name}") from None
    finally:
        if os.path.lexists(aside):
            os.unlink(aside)
    return path


def _write(
    fd: int, pieces: Iterable[bytes], source: Source, progress: Callable[[str], None]
) -> None:
    """Write all of it; raise ContentMismatch where it is not what it should be."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        size += len(piece)
        if size > _LARGEST:
            raise ContentMismatch(
                f"{source.url} has more than {_LARGEST >> 20} MiB", "it cannot be the program"
            )
        digest.update(piece)
        progress(f"{size / (1 << 20):.1f} MiB")
        while piece:
            piece = piece[os.write(fd, piece) :]
    if digest.hexdigest() != source.sha256:
        raise ContentMismatch(
            f"{source.url} has the SHA-256 {digest.hexdigest()}, not {source.sha256}",
            "it is another build, or was changed on its way: nothing was kept",
        )


def _bytes(url: str, offline: bool) -> Iterator[bytes]:
    """What is behind an address, or in a file of this host."""
    path = url.removeprefix("file://")
    if not os.path.isabs(path):
        yield from from_web(url, offline)
        return
    try:
        with open(path, "rb") as file:
            while piece := file.read(_CHUNK):
                yield piece
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "check the path") from None


def _check_format(path: str, url: str) -> None:
    """Raise ContentMismatch for what the kernel here could not execute."""
    with open(path, "rb") as file:
        start = file.read(64)
    machine = os.uname().machine
    if len(start) < 20 or start[:4] != b"\x7fELF":
        problem = "it is no program"
    elif struct.unpack_from("<H", start, 18)[0] != _ELF_MACHINES.get(machine):
        problem = f"it is not for {machine}"
    else:
        return
    raise ContentMismatch(f"{url} cannot be executed: {problem}", "name the build for this machine")

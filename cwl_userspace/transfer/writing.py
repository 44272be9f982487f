"""Write entries of a tar below a directory of a root."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator

from cwl_userspace.image import tar
from cwl_userspace.image.confine import MakeDirectory, Missing, Parts, Root, Walked, split
from cwl_userspace.image.trail import Trail
from cwl_userspace.transfer.place import failure, mode_of
from cwl_userspace.transfer.reading import BITS, Identity

Content = Iterable[bytes | memoryview]
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OVER = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BUILDING = 0o700


def archived(data: tar.Bytes) -> Iterator[tuple[tar.Entry, Content]]:
    """The members of a tar; raise LayerError for what is none."""
    for entry in tar.entries(data):
        size = entry.size if entry.kind == tar.REGULAR and entry.sparse is None else 0
        yield entry, data.pieces(size)


class Writer(MakeDirectory):
    """Writes entries below a directory. What is there of files is replaced, a directory stays.

    Nothing takes the place of a directory, and no directory that of a file: raise UserspaceError.
    ``data`` is the archive that the entries come from, for its sparse files.
    """

    def __init__(self, root: Root, base: Parts, data: tar.Bytes | None = None) -> None:
        self._data = data
        self._root = root
        self._base = base
        self._trail = Trail(root, self)
        self._made: dict[Parts, tuple[int, float]] = {}
        self._identities: set[Identity] = set()

    def has_made(self, identity: Identity) -> bool:
        """True for a directory that was made here, which is not to be copied into itself."""
        return identity in self._identities

    def write(self, found: Iterable[tuple[tar.Entry, Content]]) -> None:
        """Write all entries; directories get their modes and times at the end."""
        try:
            for entry, content in found:
                try:
                    self._write(entry, content)
                except OSError as error:
                    shown = os.fsdecode(entry.name)
                    raise failure(
                        f"{shown!r} cannot be written: {str(error.strerror).lower()}",
                        "see who may write there, and if it is read-only",
                    ) from None
        finally:
            self._finish()

    def missing(self, walked: Walked, part: bytes) -> None:
        """An archive may have a file without its directory."""
        self._make(walked, part, 0o755, None)

    def blocked(self, walked: Walked, part: bytes) -> None:
        """No file is removed for a directory."""
        raise failure(
            f"{os.fsdecode(b'/'.join((*walked.parts, part)))!r} is no directory", "remove it first"
        )

    def _write(self, entry: tar.Entry, content: Content) -> None:
        steps = (*self._base, *split(entry.name))
        if steps == self._base:
            return
        parent, name = self._trail.go(steps[:-1]), steps[-1]
        mode = mode_of(parent, name)
        if entry.kind == tar.DIRECTORY:
            if mode and not stat.S_ISDIR(mode):
                self.blocked(parent, name)
            if not mode:
                self._make(parent, name, entry.mode & BITS, entry.mtime)
            return
        if entry.kind not in (tar.REGULAR, tar.SYMLINK, tar.HARD_LINK):
            return
        if stat.S_ISDIR(mode):
            raise failure(f"{os.fsdecode(name)!r} is a directory", "a file does not replace it")
        if entry.kind == tar.REGULAR:
            self._regular(parent, name, entry, content)
            return
        if mode:
            os.unlink(name, dir_fd=parent.fd)
        if entry.kind == tar.SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent.fd)
            _set_time(name, entry.mtime, parent.fd)
        else:
            self._hard_link(parent, name, entry)

    def _make(self, parent: Walked, name: bytes, mode: int, mtime: float | None) -> None:
        os.mkdir(name, _BUILDING, dir_fd=parent.fd)
        made = os.lstat(name, dir_fd=parent.fd)
        self._identities.add((made.st_dev, made.st_ino))
        place = (*parent.parts, name)
        self._made[place] = (mode, made.st_mtime if mtime is None else mtime)

    def _regular(self, parent: Walked, name: bytes, entry: tar.Entry, content: Content) -> None:
        fd = _new_file(parent, name)
        try:
            if entry.sparse is not None and self._data is not None:
                from cwl_userspace.image import sparse

                sparse.write(fd, entry.sparse, self._data)
            else:
                for piece in content:
                    while piece:
                        piece = piece[os.write(fd, piece) :]
            os.fchmod(fd, entry.mode & BITS)
            stamp = int(entry.mtime * 1e9)
            os.utime(fd, ns=(stamp, stamp))
        finally:
            os.close(fd)

    def _hard_link(self, parent: Walked, name: bytes, entry: tar.Entry) -> None:
        target = (*self._base, *split(entry.link))
        try:
            source = self._root.open_directory(target[:-1], None)
        except Missing:
            raise failure(
                f"{os.fsdecode(entry.name)!r} is a link to {os.fsdecode(entry.link)!r}, "
                "which is not there",
                "the archive is damaged",
            ) from None
        try:
            os.link(target[-1], name, src_dir_fd=source.fd, dst_dir_fd=parent.fd,
                    follow_symlinks=False)  # fmt: skip
        finally:
            source.close()

    def _finish(self) -> None:
        self._trail.forget()
        for place in sorted(self._made, key=len, reverse=True):
            mode, mtime = self._made[place]
            try:
                parent = self._root.open_directory(place[:-1], None)
            except Missing:
                continue
            try:
                fd = os.open(place[-1], _READ | os.O_DIRECTORY, dir_fd=parent.fd)
                try:
                    os.utime(fd, ns=(int(mtime * 1e9), int(mtime * 1e9)))
                    os.fchmod(fd, mode)
                finally:
                    os.close(fd)
            except OSError:  # somebody has removed it, or put something else there
                continue
            finally:
                parent.close()


def _new_file(parent: Walked, name: bytes) -> int:
    """A new file in place of what is there; what is mounted there is written over."""
    try:
        os.unlink(name, dir_fd=parent.fd)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return os.open(name, _OVER, dir_fd=parent.fd)
    return os.open(name, _CREATE, 0o600, dir_fd=parent.fd)


def _set_time(name: bytes, mtime: float, dir_fd: int) -> None:
    stamp = int(mtime * 1e9)
    os.utime(name, ns=(stamp, stamp), dir_fd=dir_fd, follow_symlinks=False)

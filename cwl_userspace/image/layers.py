"""Apply layers to a tree, with the whiteouts of the OCI image specification (layer.md).

Nothing is written outside the tree whatever the archive says, everything belongs to the caller,
set-user-ID bits and device nodes are dropped and counted. While a tree is built its directories
are the owner's to write; their real modes are set at the end, children before parents.
"""

from __future__ import annotations

import errno
import os
import stat

from cwl_userspace.errors import LayerError
from cwl_userspace.image import tar
from cwl_userspace.image.confine import MakeDirectory, Missing, Parts, Root, Walked, children, split
from cwl_userspace.image.confine import remove as remove_name
from cwl_userspace.image.contents import Journal, crc32
from cwl_userspace.image.trail import Trail
from cwl_userspace.image.umask import umask

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_RESERVED = b".wh..wh."
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BUILDING = 0o700
_NO_NAMES = (b"", b".", b"..")
# What an entry can ask for that cannot be; other errors are the store's (no space, no rights).
_OF_THE_LAYER = (
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EACCES,
    errno.EPERM,
    errno.ENAMETOOLONG,
    errno.EMLINK,
)


class Tree(MakeDirectory):
    """A root file system under construction, told to a journal. ``apply`` layers, ``finish``."""

    def __init__(self, path: str, journal: Journal | None = None) -> None:
        self._root = Root(path)
        self._journal = journal or Journal()
        self._umask = umask()
        # Nothing has the time of its making: an image would have another tree on each host.
        self._directories: dict[Parts, tuple[int, float]] = {(): (0o755, 0)}
        self._touched: set[Parts] = set()
        self._tracking = False
        self._trail = Trail(self._root, self)
        self._head: bytes | None = None  # the directory of the entry before, as the archive has it
        self._applied = 0
        self.dropped_devices = 0
        self.dropped_setuid = 0
        self.files = 0
        self.bytes = 0

    def adopt(self) -> None:
        """Take what the tree holds already for lower layers; before the first ``apply``.

        Its directories are ours to write, and get their modes and times back by ``finish``.
        """
        self._applied = 1
        waiting: list[Parts] = [()]
        while waiting:
            parts = waiting.pop()
            name = b"/".join(parts) or b"."
            found = os.stat(name, dir_fd=self._root.fd, follow_symlinks=False)
            mode = stat.S_IMODE(found.st_mode)
            if mode & _BUILDING != _BUILDING:
                os.chmod(name, mode | _BUILDING, dir_fd=self._root.fd)
            self._directories[parts] = (mode, found.st_mtime_ns / 1e9)
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root.fd)
            try:
                waiting += [(*parts, child) for child, inner in children(fd) if inner]
            finally:
                os.close(fd)

    def apply(self, data: tar.Bytes, whiteouts: bool = True) -> None:
        """Apply one layer, the lowest first; raise LayerError if it is damaged or hostile.

        Without ``whiteouts`` (a rootfs tar is no layer) a ``.wh.`` name is refused: the same bytes
        as a layer make another tree, and both would be filed under one DiffID.
        """
        self._tracking = self._applied > 0
        self._touched = set()
        for entry in tar.entries(data):
            try:
                self._apply_entry(entry, data, whiteouts)
            except OSError as error:
                if error.errno not in _OF_THE_LAYER:
                    raise
                raise LayerError(
                    f"{data.what}: the entry {entry.name!r:.100} cannot be made: {error.strerror}",
                    "the archive is damaged",
                ) from None
        self._applied += 1
        self._forget()

    def finish(self) -> None:
        """Set the directories' modes and times, and let go of the tree."""
        self._forget()
        for parts in sorted(self._directories, key=len, reverse=True):
            mode, mtime = self._directories[parts]
            name = b"/".join(parts) or b"."
            stamp = int(mtime * 1_000_000_000)
            os.utime(name, ns=(stamp, stamp), dir_fd=self._root.fd, follow_symlinks=False)
            os.chmod(name, mode, dir_fd=self._root.fd)
        self.close()

    def close(self) -> None:
        """Let go of the tree as it is."""
        self._forget()
        self._root.close()

    # What the walk through a path asks for.

    def missing(self, walked: Walked, part: bytes) -> None:
        """An entry came before its directory: make it, 0755 and from 1970 in the end."""
        os.mkdir(part, _BUILDING, dir_fd=walked.fd)
        self._note_directory((*walked.parts, part), 0o755, 0)

    def blocked(self, walked: Walked, part: bytes) -> None:
        """A file stands where the path needs a directory: the later entry wins."""
        self._remove(walked, part)

    # One entry.

    def _apply_entry(self, entry: tar.Entry, data: tar.Bytes, whiteouts: bool) -> None:
        head, _, name = entry.name.rpartition(b"/")
        if head == self._head and not name.startswith(_WHITEOUT) and name not in _NO_NAMES:
            parent = self._trail.current
        else:
            parts = split(entry.name)
            if not parts:
                self._apply_root(entry, data)
                return
            if _RESERVED in entry.name and any(p.startswith(_RESERVED) for p in parts[:-1]):
                return  # AUFS keeps its own files there
            if parts[-1].startswith(_WHITEOUT):
                self._check_whiteout(parts[-1], data, whiteouts)
                self._whiteout(parts[:-1], parts[-1], data)
                return
            parent = self._trail.go(parts[:-1])
            self._head = head if parts[-1] == name else None
            name = parts[-1]
        place = (*parent.parts, name)
        if entry.kind == tar.DIRECTORY:
            self._directory(parent, name, entry)
        elif entry.kind == tar.REGULAR:
            self._regular(parent, name, entry, data)
        elif entry.kind == tar.SYMLINK:
            self._symlink(parent, name, entry)
        elif entry.kind == tar.HARD_LINK:
            self._hard_link(parent, name, entry, data)
        else:
            self.dropped_devices += 1
            self._remove(parent, name)
            return
        self._touch(place)

    def _apply_root(self, entry: tar.Entry, data: tar.Bytes) -> None:
        """The entry ``./`` gives the root's own mode; it can be nothing but a directory."""
        if entry.kind != tar.DIRECTORY:
            raise LayerError(f"{data.what} replaces the root of the tree", "the image is hostile")
        self._note_directory((), entry.mode & 0o1777, entry.mtime)

    def _directory(self, parent: Walked, name: bytes, entry: tar.Entry) -> None:
        try:
            os.mkdir(name, _BUILDING, dir_fd=parent.fd)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=parent.fd).st_mode):
                self._remove(parent, name)
                os.mkdir(name, _BUILDING, dir_fd=parent.fd)
        self._count_setuid(entry.mode)
        self._note_directory((*parent.parts, name), entry.mode & 0o1777, entry.mtime)

    def _regular(self, parent: Walked, name: bytes, entry: tar.Entry, data: tar.Bytes) -> None:
        mode = entry.mode & 0o777
        try:
            fd = os.open(name, _CREATE, mode, dir_fd=parent.fd)
        except FileExistsError:
            self._remove(parent, name)
            fd = os.open(name, _CREATE, mode, dir_fd=parent.fd)
        crc = 0
        try:
            for piece in data.pieces(entry.size):
                crc = crc32(piece, crc)
                written = os.write(fd, piece)
                while written < len(piece):
                    written += os.write(fd, piece[written:])
            if mode & self._umask:
                os.fchmod(fd, mode)
            stamp = int(entry.mtime * 1_000_000_000)
            os.utime(fd, ns=(stamp, stamp))
        finally:
            os.close(fd)
        self._journal.file((*parent.parts, name), mode, entry.size, entry.mtime, crc)
        self._count_setuid(entry.mode)
        self.files += 1
        self.bytes += entry.size

    def _symlink(self, parent: Walked, name: bytes, entry: tar.Entry) -> None:
        if not entry.link:
            raise LayerError(f"the link {entry.name!r:.100} is empty", "the archive is damaged")
        try:
            os.symlink(entry.link, name, dir_fd=parent.fd)
        except FileExistsError:
            self._remove(parent, name)
            os.symlink(entry.link, name, dir_fd=parent.fd)
        stamp = int(entry.mtime * 1_000_000_000)
        os.utime(name, ns=(stamp, stamp), dir_fd=parent.fd, follow_symlinks=False)
        self._journal.link((*parent.parts, name), entry.link, entry.mtime)

    def _hard_link(self, parent: Walked, name: bytes, entry: tar.Entry, data: tar.Bytes) -> None:
        """The target is looked up inside the tree; its last step is not followed."""
        target = split(entry.link)
        refusal = LayerError(
            f"{data.what} links {entry.name!r:.100} to {entry.link!r:.100}, which is no file",
            "expected a hard link to an earlier file of the image",
        )
        if not target:
            raise refusal
        try:
            source = self._root.open_directory(target[:-1], None)
        except Missing:
            raise refusal from None
        try:
            if (*source.parts, target[-1]) == (*parent.parts, name):
                return
            found = os.lstat(target[-1], dir_fd=source.fd)
            if stat.S_ISDIR(found.st_mode):
                raise refusal
            self._link(source.fd, target[-1], parent, name)
            self._journal.hard_link((*parent.parts, name), (*source.parts, target[-1]))
        except FileNotFoundError:
            raise refusal from None
        finally:
            source.close()

    def _link(self, source_fd: int, target: bytes, parent: Walked, name: bytes) -> None:
        for attempt in (1, 2):
            try:
                os.link(
                    target,
                    name,
                    src_dir_fd=source_fd,
                    dst_dir_fd=parent.fd,
                    follow_symlinks=False,
                )
                return
            except FileExistsError:
                if attempt == 2:
                    raise
                self._remove(parent, name)

    # Whiteouts.

    def _check_whiteout(self, name: bytes, data: tar.Bytes, whiteouts: bool) -> None:
        if not whiteouts:
            raise LayerError(
                f"{data.what} holds {name!r:.80}, which only a layer of an image has a use for",
                "make the tar again without it (tar --exclude='.wh.*')",
            )
        if name[len(_WHITEOUT) :] in _NO_NAMES:
            raise LayerError(
                f"{data.what} has the whiteout {name!r}, which names nothing",
                "the image is hostile",
            )

    def _whiteout(self, directory: Parts, name: bytes, data: tar.Bytes) -> None:
        """Hide what lower layers have; what this layer has itself stays, in whatever order."""
        hidden = name[len(_WHITEOUT) :]
        if not self._tracking or (name.startswith(_RESERVED) and name != _OPAQUE):
            return
        self._forget()
        try:
            parent = self._root.open_directory(directory, None)
        except Missing:
            return
        try:
            if name == _OPAQUE:
                self._purge_children(parent)
            else:
                self._purge(parent, hidden)
        finally:
            parent.close()

    def _purge(self, parent: Walked, name: bytes) -> None:
        """Remove a name, unless this layer made it; of a directory it made, the lower part."""
        place = (*parent.parts, name)
        if place not in self._touched:
            self._remove(parent, name)
            return
        try:
            found = os.lstat(name, dir_fd=parent.fd)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            inner = self._root.open_directory(place, None)
            try:
                self._purge_children(inner)
            finally:
                inner.close()

    def _purge_children(self, directory: Walked) -> None:
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory.fd)
        try:
            for child, _ in children(fd):
                self._purge(directory, child)
        finally:
            os.close(fd)

    # The state behind.

    def _forget(self) -> None:
        """Let go of the directories that are open; the tree is not as it was."""
        self._head = None
        self._trail.forget()

    def _remove(self, parent: Walked, name: bytes) -> None:
        self._journal.removed((*parent.parts, name))
        if remove_name(name, parent.fd):
            place = (*parent.parts, name)
            depth = len(place)
            for known in [k for k in self._directories if k[:depth] == place]:
                del self._directories[known]
            if parent is not self._trail.current:
                self._forget()

    def _note_directory(self, place: Parts, mode: int, mtime: float) -> None:
        if sum(map(len, place)) + len(place) > tar.PATH_LIMIT:
            raise LayerError(
                f"the directory {b'/'.join(place)!r:.80}... is too deep for any path",
                "the image is hostile",
            )
        self._directories[place] = (mode, mtime)
        self._journal.directory(place, mode, mtime)
        self._touch(place)

    def _touch(self, place: Parts) -> None:
        """Remember that this layer made a place, and so has a part in all that lead to it."""
        while self._tracking and place and place not in self._touched:
            self._touched.add(place)
            place = place[:-1]

    def _count_setuid(self, mode: int) -> None:
        if mode & (stat.S_ISUID | stat.S_ISGID):
            self.dropped_setuid += 1

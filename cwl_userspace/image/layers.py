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
from cwl_userspace.image.directories import Directories
from cwl_userspace.image.replaced import Replaced
from cwl_userspace.image.trail import Trail
from cwl_userspace.image.umask import umask
from cwl_userspace.image.whiteouts import PREFIX, RESERVED, Whiteouts
from cwl_userspace.image.whiteouts import check as check_marker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BUILDING = 0o700
_SET_ID = stat.S_ISUID | stat.S_ISGID
_NO_NAMES = (b"", b".", b"..")
_NAME_WEIGHT = 16  # what a name costs in memory, beside eight bytes for each of its steps
# What an entry can ask for that cannot be; other errors are the store's (no space, no rights).
_OF_THE_LAYER = (
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM,
    errno.ENAMETOOLONG, errno.EMLINK,
)  # fmt: skip


class Tree(MakeDirectory):
    """A root file system under construction, told to a journal. ``apply`` layers, ``finish``."""

    def __init__(
        self, path: str, journal: Journal | None = None, replaced: Replaced | None = None
    ) -> None:
        self._root = Root(path)
        self._journal = journal or Journal()
        self._replaced = replaced
        self._umask = umask()
        self._directories = Directories()
        self._touched: set[Parts] = set()
        self._whiteouts = Whiteouts(self._root, self._touched, self._remove)
        self._tracking = False
        self._trail = Trail(self._root, self)
        self._head: bytes | None = None  # the directory of the entry before, as the archive has it
        self._applied = 0
        self.dropped_devices = self.dropped_setuid = 0
        self.files = self.bytes = self.holes = self.remembered = 0

    @property
    def made(self) -> int:
        """How many files and directories were made so far."""
        return self.files + len(self._directories)

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
            self._directories.note(parts, mode, found.st_mtime_ns / 1e9)
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
        self._journal.layer()
        self._tracking = self._applied > 0
        self._touched = set()
        self._whiteouts = Whiteouts(self._root, self._touched, self._remove)
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
        self._directories.settle(self._root.fd)
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
        if head == self._head and not name.startswith(PREFIX) and name not in _NO_NAMES:
            parent = self._trail.current
        else:
            parts = split(entry.name)
            if not parts:
                self._apply_root(entry, data)
                return
            if RESERVED in entry.name and any(p.startswith(RESERVED) for p in parts[:-1]):
                return  # AUFS keeps its own files there
            if parts[-1].startswith(PREFIX):
                check_marker(parts[-1], data, whiteouts)
                if self._tracking:
                    self._forget()
                    self._whiteouts.hide(parts[:-1], parts[-1])
                return
            parent = self._trail.go(parts[:-1])
            self._head = head if parts[-1] == name else None
            name = parts[-1]
        place = (*parent.parts, name)
        if entry.kind == tar.DIRECTORY:
            self._directory(parent, name, entry)
        elif entry.kind == tar.REGULAR:
            self._regular(parent, place, entry, data)
        elif entry.kind == tar.SYMLINK:
            self._symlink(parent, name, entry)
        elif entry.kind == tar.HARD_LINK:
            self._hard_link(parent, name, entry, data)
        else:
            self.dropped_devices += 1
            self._remove(parent, name)
            return
        if self._tracking:
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
        self.dropped_setuid += bool(entry.mode & _SET_ID)
        self._note_directory((*parent.parts, name), entry.mode & 0o1777, entry.mtime)

    def _regular(self, parent: Walked, place: Parts, entry: tar.Entry, data: tar.Bytes) -> None:
        name, mode = place[-1], entry.mode & 0o777
        try:
            fd = os.open(name, _CREATE, mode, dir_fd=parent.fd)
        except FileExistsError:
            self._remove(parent, name)
            fd = os.open(name, _CREATE, mode, dir_fd=parent.fd)
        crc, size = 0, entry.size
        try:
            if entry.sparse is not None:
                from cwl_userspace.image import sparse

                crc = sparse.write(fd, entry.sparse, data)
                self.holes += entry.sparse.holes
                size = entry.sparse.size
            else:
                for piece in data.pieces(size):
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
        self._journal.file(place, mode, size, entry.mtime, crc)
        if mode != entry.mode:
            self.dropped_setuid += bool(entry.mode & _SET_ID)
        self.files += 1
        self.bytes += size

    def _symlink(self, parent: Walked, name: bytes, entry: tar.Entry) -> None:
        if not entry.link:
            raise LayerError(f"the link {entry.name!r:.100} is empty", "the archive is damaged")
        self._in_place(parent, name, lambda: os.symlink(entry.link, name, dir_fd=parent.fd))
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
            fds = {"src_dir_fd": source.fd, "dst_dir_fd": parent.fd}
            self._in_place(
                parent, name, lambda: os.link(target[-1], name, **fds, follow_symlinks=False)
            )
            self._journal.hard_link((*parent.parts, name), (*source.parts, target[-1]))
        except FileNotFoundError:
            raise refusal from None
        finally:
            source.close()

    def _in_place(self, parent: Walked, name: bytes, make: Callable[[], None]) -> None:
        """Make what is to have a name in place of what has it."""
        try:
            make()
        except FileExistsError:
            self._remove(parent, name)
            make()

    # The state behind.

    def _forget(self) -> None:
        """Let go of the directories that are open; the tree is not as it was."""
        self._head = None
        self._trail.forget()

    def _remove(self, parent: Walked, name: bytes) -> None:
        removal = self._journal.removed((*parent.parts, name))
        if self._replaced is not None and self._tracking:
            is_directory = self._replaced.keep(name, parent.fd, removal, self.files, self.bytes)
        else:
            is_directory = remove_name(name, parent.fd)
        if is_directory:
            self._directories.drop((*parent.parts, name))
            if parent is not self._trail.current:
                self._forget()

    def _note_directory(self, place: Parts, mode: int, mtime: float) -> None:
        if sum(map(len, place)) + len(place) > tar.PATH_LIMIT:
            raise LayerError(
                f"the directory {b'/'.join(place)!r:.80}... is too deep for any path",
                "the image is hostile",
            )
        self._directories.note(place, mode, mtime)
        self._journal.directory(place, mode, mtime)
        self.remembered += len(place) + _NAME_WEIGHT
        self._touch(place)

    def _touch(self, place: Parts) -> None:
        """Remember that this layer made a place, and so has a part in all that lead to it."""
        while self._tracking and place and place not in self._touched:
            self._touched.add(place)
            self.remembered += len(place) + _NAME_WEIGHT
            place = place[:-1]

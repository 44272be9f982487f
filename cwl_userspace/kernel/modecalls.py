"""The calls that change a file's mode, owner, times or attributes: read from a process that waits
in one, and made in its place.
"""

from __future__ import annotations

import errno
import os
import struct

from cwl_userspace.kernel import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Which arguments of a call are its directory, its path and its flags (-1: it has none), and
# whether it follows a link at the end of its path when its flags say nothing about that. A call
# without a path works on its descriptor, and so does one whose path is null.
SHAPES = {
    "chmod": (-1, 0, -1, True),
    "fchmod": (0, -1, -1, True),
    "fchmodat": (0, 1, -1, True),
    "chown": (-1, 0, -1, True),
    "chown32": (-1, 0, -1, True),
    "lchown": (-1, 0, -1, False),
    "lchown32": (-1, 0, -1, False),
    "fchown": (0, -1, -1, True),
    "fchown32": (0, -1, -1, True),
    "fchownat": (0, 1, 4, True),
    "utime": (-1, 0, -1, True),
    "utimes": (-1, 0, -1, True),
    "futimesat": (0, 1, -1, True),
    "utimensat": (0, 1, 3, True),
    "utimensat_time64": (0, 1, 3, True),
    "setxattr": (-1, 0, -1, True),
    "lsetxattr": (-1, 0, -1, False),
    "fsetxattr": (0, -1, -1, True),
    "removexattr": (-1, 0, -1, True),
    "lremovexattr": (-1, 0, -1, False),
    "fremovexattr": (0, -1, -1, True),
}
# The argument that a family of calls has its first word of interest in.
_MODE = {"chmod": 1, "fchmod": 1, "fchmodat": 2}
_OWNER = {
    "chown": 1, "chown32": 1, "lchown": 1, "lchown32": 1, "fchown": 1, "fchown32": 1, "fchownat": 2,
}  # fmt: skip
# Where the times are, whether there are two of them or two and their fractions, and how many
# nanoseconds one of the fraction is.
_TIMES = {
    "utime": (1, 2, 0),
    "utimes": (1, 4, 1000),
    "futimesat": (2, 4, 1000),
    "utimensat": (2, 4, 1),
    "utimensat_time64": (2, 4, 1),
}
_SHORT_OWNERS = ("chown", "lchown", "fchown")  # of 16 bits, where a word has 32
_LONGEST_PATH = 4096
_LONGEST_NAME, _LARGEST_VALUE = 256, 1 << 16  # of an extended attribute (limits.h)
_NOBODY_SHORT, _MOST = 0xFFFF, 1 << 32
_MILLION = 1_000_000


class Call:
    """A call as the kernel tells of it: its name, who waits in it, and its words.

    ``word`` is the size of a long in its calling convention, in bytes.
    """

    __slots__ = ("arguments", "name", "pid", "word")

    def __init__(self, name: str, pid: int, arguments: Sequence[int], word: int) -> None:
        self.name = name
        self.pid = pid
        self.arguments = tuple(arguments)
        self.word = word

    @property
    def directory(self) -> int:
        """The descriptor that it names, or AT_FDCWD."""
        at = SHAPES[self.name][0]
        return signed(self.arguments[at]) if at >= 0 else syscalls.AT_FDCWD

    @property
    def follows(self) -> bool:
        """True if a link at the end of its path is followed."""
        _, _, flags_at, follows = SHAPES[self.name]
        flags = self.arguments[flags_at] if flags_at >= 0 else 0
        return follows and not flags & syscalls.AT_SYMLINK_NOFOLLOW

    def path(self) -> bytes:
        """Its path; empty if it works on its descriptor. OSError for a path that cannot be."""
        _, path_at, flags_at, _ = SHAPES[self.name]
        pointer = self.arguments[path_at] if path_at >= 0 else 0
        if not pointer:
            return b""
        path = text_in(self.pid, pointer, _LONGEST_PATH)
        flags = self.arguments[flags_at] if flags_at >= 0 else 0
        if not path and not flags & syscalls.AT_EMPTY_PATH:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return path

    def make(self, place: str) -> None:
        """Make it here, on what *place* (of /proc/self/fd) stands for; OSError where it fails."""
        if self.name in _MODE:
            os.chmod(place, self.arguments[_MODE[self.name]] & 0o7777)
        elif self.name in _OWNER:
            os.chown(place, *self._owners())
        elif self.name in _TIMES:
            self._set_times(place)
        elif "set" in self.name:
            os.setxattr(place, self._attribute(), self._value(), self.arguments[4] & 0xFFFFFFFF)
        else:
            os.removexattr(place, self._attribute())

    def _owners(self) -> list[int]:
        at = _OWNER[self.name]
        words = [word & 0xFFFFFFFF for word in self.arguments[at : at + 2]]
        if self.word == 4 and self.name in _SHORT_OWNERS:
            words = [word & _NOBODY_SHORT for word in words]
            return [-1 if word == _NOBODY_SHORT else word for word in words]
        return [-1 if word == _MOST - 1 else word for word in words]

    def _attribute(self) -> bytes:
        return text_in(self.pid, self.arguments[1], _LONGEST_NAME)

    def _value(self) -> bytes:
        size = self.arguments[3]
        if size > _LARGEST_VALUE:
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
        return bytes_in(self.pid, self.arguments[2], size) if size else b""

    def _set_times(self, place: str) -> None:
        """utimensat(2) for all of them: it alone knows of "now" and "leave it" (UTIME_*)."""
        at, count, unit = _TIMES[self.name]
        times = None
        if self.arguments[at]:
            kind = "q" if self.word == 8 or self.name.endswith("time64") else "i"
            layout = f"={count}{kind}"
            words = struct.unpack(
                layout, bytes_in(self.pid, self.arguments[at], struct.calcsize(layout))
            )
            if count == 2:
                words = (words[0], 0, words[1], 0)
            if unit == 1000 and not all(0 <= part < _MILLION for part in words[1::2]):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            scale = unit or 1
            times = struct.pack("=4q", words[0], words[1] * scale, words[2], words[3] * scale)
        number = syscalls.number_of("utimensat")
        syscalls.syscall(number, syscalls.AT_FDCWD, os.fsencode(place), times, 0)


def text_in(pid: int, pointer: int, longest: int) -> bytes:
    """The string at *pointer* in the memory of *pid*: less than *longest* bytes of it."""
    memory = _memory(pid)
    try:
        text = b""
        while b"\0" not in text:
            if len(text) >= longest:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            at = pointer + len(text)
            # not past the end of a page: the next one may not be there
            text += _piece(memory, at, 4096 - at % 4096)
    finally:
        os.close(memory)
    text = text[: text.index(b"\0")]
    if len(text) >= longest:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    return text


def bytes_in(pid: int, pointer: int, size: int) -> bytes:
    """*size* bytes at *pointer* in the memory of *pid*."""
    memory = _memory(pid)
    try:
        data = b""
        while len(data) < size:
            data += _piece(memory, pointer + len(data), size - len(data))
    finally:
        os.close(memory)
    return data


def _memory(pid: int) -> int:
    return os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)


def _piece(memory: int, at: int, size: int) -> bytes:
    try:
        piece = os.pread(memory, size, at)
    except (OSError, OverflowError):
        piece = b""
    if not piece:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
    return piece


def signed(word: int) -> int:
    """An argument as the int that the kernel takes it for."""
    return (word & 0xFFFFFFFF) - ((word & 0x80000000) << 1)

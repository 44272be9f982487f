"""How much memory a tree of processes takes, read from /proc: what Docker's limit counts.

That is what the processes wrote to memory of their own, what is in shared memory, and the files
of those file systems in memory that only the container has; not the pages of files on a disk,
which the kernel can drop. Reading it twice, once cheaply and once exactly, keeps the cost small:
the cheap sum counts pages that processes share after a fork once for each, and so is never too
small.
"""

from __future__ import annotations

import os
import re
import time

from cwl_userspace.lineage import descendants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_KIB = 1024
# How often somebody looks who only wants to know the most, in seconds.
_INTERVAL = 1.0
_CHUNK = 1 << 16
_IN_MEMORY = ("tmpfs", "ramfs")
# The upper layer of an overlay of ours, as its mount options name it, where it is in memory.
_MEMORY_OVERLAY = re.compile(rb"\bupperdir=(\./)?upper\b")
# RssAnon and RssShmem are there since Linux 4.5, VmRSS always.
_STATUS = re.compile(rb"^(RssAnon|RssShmem|VmSwap|VmRSS):\s+(\d+) kB", re.MULTILINE)
_ROLLUP = re.compile(rb"^(Pss_Anon|Pss_Shmem|SwapPss):\s+(\d+) kB", re.MULTILINE)
_MAPPING = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ ([0-9a-f]+):([0-9a-f]+) (\d+)"
    rb"|^(Pss|Anonymous|SwapPss):\s+(\d+) kB",
    re.MULTILINE,
)


class TreeMemory:
    """Measures all processes below one, again and again."""

    __slots__ = ("_known", "_mounts", "_our_space", "_ours", "_private", "_shared_memory", "_top")

    def __init__(self, top: int, private: str = "") -> None:
        """``private`` is the run's directory on the host; it counts where it is in memory."""
        self._top = top
        self._private = private if private and _is_in_memory(private) else ""
        self._ours = {device for device, *_ in _mounts(os.getpid())}
        self._known = {""}
        # Whoever shares our mounts has none of its own, whatever others have mounted since.
        self._our_space = _view(os.getpid()).partition(" ")[0] or "none"
        # Of each file system in memory that the container alone has: a way to it.
        self._mounts: dict[tuple[int, int], str] = {}
        self._shared_memory = _shared_memory_device()

    def at_most(self) -> int:
        """Bytes, pages that processes share being counted more than once; some 50 µs a process."""
        pids = below(self._top)
        return sum(map(_upper_bound, pids)) + self._files(pids)

    def exactly(self) -> int:
        """Bytes, each page counted once; the kernel looks at every page for this."""
        pids = below(self._top)
        files = self._files(pids)
        return sum(map(self._proportional, pids)) + files

    def _files(self, pids: Iterable[int]) -> int:
        """Bytes in file systems in memory that are the container's own."""
        for pid in pids:
            space = _view(pid)
            if space in self._known or space.startswith(self._our_space):
                continue
            self._known.add(space)
            for device, in_memory, place in _mounts(pid):
                path = f"/proc/{pid}/root{place}"
                if in_memory and device not in self._ours and _shows(path, device):
                    self._mounts.setdefault(device, path)
        total = 0
        for device, path in list(self._mounts.items()):
            used = _used(path)
            if _shows(path, device):
                total += used
            else:
                # The process by which it was reached has ended, or has another root by now, as
                # bwrap's gets one after the other: any other may show it.
                del self._mounts[device]
                self._known = {""}
        return total + (_size_of_files(self._private) if self._private else 0)

    def _proportional(self, pid: int) -> int:
        """A process's share in bytes (proc(5), smaps); files on disks count for nothing.

        The kernel sums it up itself since Linux 5.4, but does not say which files in memory are
        mapped, whose pages must not count twice.
        """
        values = _values(_ROLLUP, _read(f"/proc/{pid}/smaps_rollup"))
        if b"Pss_Anon" in values and not values[b"Pss_Shmem"]:
            return sum(values.values()) * _KIB
        data = _read(f"/proc/{pid}/smaps")
        if not data:
            return _upper_bound(pid)
        total = share = 0
        device, private_only = (0, 0), False
        for major, minor, inode, name, value in _MAPPING.findall(data):
            if not name:
                device = (int(major, 16), int(minor, 16))
                private_only = inode != b"0" and device != self._shared_memory
            elif name == b"Pss":
                share = int(value)
            elif name == b"Anonymous":
                if device not in self._mounts:
                    total += min(share, int(value)) if private_only else share
            else:
                total += int(value)
        return total * _KIB


class Peak:
    """The most that all processes below one are seen to have together, as ``peak`` in bytes.

    Pages that processes share are counted more than once, as cwltool's own monitor does.
    """

    __slots__ = ("_next", "_private", "_top", "_tree", "peak")

    def __init__(self, top: int, private: str) -> None:
        """``private`` is the run's directory on the host; it counts where it is in memory."""
        self._top, self._private = top, private
        self._next = time.monotonic() + _INTERVAL
        self._tree: TreeMemory | None = None
        self.peak = 0

    def wait(self) -> float:
        """After how many seconds to look next."""
        return max(0.0, self._next - time.monotonic())

    def look(self) -> None:
        """Look if it is time; most jobs have ended before the first look."""
        if self.wait():
            return
        if self._tree is None:
            self._tree = TreeMemory(self._top, self._private)
        self.peak = max(self.peak, self._tree.at_most())
        self._next = time.monotonic() + _INTERVAL


def below(top: int) -> list[int]:
    """All processes below one; by the kernel's own lists of children where it has them."""
    found: list[int] = []
    todo = [top]
    while todo:
        pid = todo.pop()
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            path = f"/proc/{pid}/task/{thread}/children"
            data = _read(path)
            if not data and pid == top and not os.path.exists(path):
                # Built without CONFIG_PROC_CHILDREN.
                return descendants(top)
            children = [int(word) for word in data.split()]
            found += children
            todo += children
    return found


def _upper_bound(pid: int) -> int:
    values = _values(_STATUS, _read(f"/proc/{pid}/status"))
    if b"RssAnon" in values:
        del values[b"VmRSS"]
    return sum(values.values()) * _KIB


def _values(pattern: re.Pattern[bytes], data: bytes) -> dict[bytes, int]:
    return {name: int(value) for name, value in pattern.findall(data)}


def _view(pid: int) -> str:
    """A name for the mounts that a process sees; nothing where it cannot be told.

    It is another one as soon as the process has another root, for which most mounts are made.
    """
    try:
        root = os.stat(f"/proc/{pid}/root")
        return f"{os.readlink(f'/proc/{pid}/ns/mnt')} {root.st_dev} {root.st_ino}"
    except OSError:
        return ""


def _mounts(pid: int) -> Iterator[tuple[tuple[int, int], bool, str]]:
    """The device and place of each mount that a process sees, and whether it is in memory.

    See proc(5), mountinfo.
    """
    for line in _read(f"/proc/{pid}/mountinfo").splitlines():
        left, _, right = line.partition(b" - ")
        fields, kind = left.split(b" "), right.partition(b" ")[0].decode()
        in_memory = kind in _IN_MEMORY
        if kind == "overlay":
            in_memory = _MEMORY_OVERLAY.search(right) is not None
        major, _, minor = fields[2].partition(b":")
        place = re.sub(rb"\\(\d{3})", lambda m: bytes([int(m[1], 8)]), fields[4])
        yield (int(major), int(minor)), in_memory, os.fsdecode(place)


def _used(path: str) -> int:
    """Bytes that are taken on a path's file system."""
    try:
        found = os.statvfs(path)
    except OSError:
        return 0
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _shows(path: str, device: tuple[int, int]) -> bool:
    """False where another mount, of whatever size, covers the one that was made at a place."""
    try:
        found = os.stat(path).st_dev
    except OSError:
        return False
    return (os.major(found), os.minor(found)) == device


def _is_in_memory(path: str) -> bool:
    """True for a directory, made already or not, on a file system in memory."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    device = os.stat(path).st_dev
    wanted = (os.major(device), os.minor(device))
    return any(found == wanted and in_memory for found, in_memory, _ in _mounts(os.getpid()))


def _shared_memory_device() -> tuple[int, int]:
    """The file system that memfd_create, shmget and shared anonymous memory take pages from."""
    try:
        fd = os.memfd_create("device")
    except (OSError, AttributeError):
        return -1, -1
    device = os.fstat(fd).st_dev
    os.close(fd)
    return os.major(device), os.minor(device)


def _size_of_files(directory: str) -> int:
    """Bytes that the files below a directory take, each once; what vanishes meanwhile is let go."""
    total = 0
    seen: set[int] = set()
    todo = [directory]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    elif entry.inode() not in seen:
                        seen.add(entry.inode())
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue
    return total


def _read(path: str) -> bytes:
    """All of a file of /proc; nothing where its process has gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        data = chunk = os.read(fd, _CHUNK)
        while chunk:
            chunk = os.read(fd, _CHUNK)
            data += chunk
        return data
    except OSError:
        return b""
    finally:
        os.close(fd)

"""What a detached container prints: a file of lines, each with its time and its stream.

The form is that of the Container Runtime Interface's logs, ``TIME STREAM F|P TEXT``: P is a part of
a line whose rest follows. One process writes it, which reads the pipes that the container prints
to. A file that is full is put aside, and what was aside before is lost, so that a log has at most
twice the size that it was given.
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 10 << 20
STREAMS = ("stdout", "stderr")
_CHUNK = 1 << 16
SMALLEST = 4096
# Room for the time, the stream and the mark of each line.
_AHEAD = 48


class Line:
    """A line, or a part of one: when and where it was printed, and its bytes."""

    __slots__ = ("stream", "text", "time", "whole")

    def __init__(self, time: str, stream: str, whole: bool, text: bytes) -> None:
        self.time = time
        self.stream = stream
        self.whole = whole
        self.text = text

    @classmethod
    def parse(cls, line: bytes) -> Line | None:
        """A line of a log, its end left out; None for one that is cut off."""
        fields = line.split(b" ", 3)
        if len(fields) != 4 or fields[2] not in (b"F", b"P"):
            return None
        return cls(fields[0].decode("ascii", "replace"), fields[1].decode(), fields[2] == b"F",
                   fields[3])  # fmt: skip


def path(state: str, identifier: str) -> str:
    """Where the log of a container is."""
    return os.path.join(state, "logs", f"{identifier}.log")


def aside(path: str) -> str:
    """Where the older part of a log is."""
    return f"{path}.1"


def remove(state: str, identifier: str) -> None:
    """Forget what a container has printed."""
    place = path(state, identifier)
    for name in (place, aside(place)):
        try:
            os.unlink(name)
        except OSError:
            continue


def write(place: str, streams: tuple[int, int], largest: int = LARGEST) -> None:
    """Write down what comes from two pipes, until both are closed; with ``largest`` 0 nothing.

    Where nothing can be written the pipes are read all the same.
    """
    log = _Writer(place, largest)
    chunk = min(_CHUNK, largest // 4) or _CHUNK
    poll = select.poll()
    names = dict(zip(streams, STREAMS, strict=True))
    for fd in streams:
        poll.register(fd, select.POLLIN)
    while names:
        for fd, _ in poll.poll():
            data = os.read(fd, chunk)
            if data:
                log.add(names[fd], data)
            else:
                poll.unregister(fd)
                del names[fd]


class _Writer:
    def __init__(self, place: str, largest: int) -> None:
        self._place = place
        self._half = largest // 2
        self._fd = -1
        self._size = 0
        if largest:
            self._open()

    def add(self, stream: str, data: bytes) -> None:
        """Write lines down; one that goes on later is marked as a part."""
        if self._fd < 0:
            return
        ahead = f"{_now()} {stream} ".encode()
        *lines, rest = data.split(b"\n")
        pieces = [b"%sF %s\n" % (ahead, line) for line in lines]
        if rest:
            pieces.append(b"%sP %s\n" % (ahead, rest))
        try:
            text = b""
            for piece in pieces:
                if self._size + len(text) + len(piece) > self._half:
                    self._put(text)
                    self._turn()
                    text = b""
                text += piece
            self._put(text)
        except OSError:
            return

    def _put(self, text: bytes) -> None:
        self._size += os.write(self._fd, text)

    def _open(self) -> None:
        try:
            os.makedirs(os.path.dirname(self._place), mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(self._place, flags, 0o600)
            self._size = os.fstat(self._fd).st_size
        except OSError:
            self._fd = -1

    def _turn(self) -> None:
        os.replace(self._place, aside(self._place))
        os.close(self._fd)
        self._open()


class Reader:
    """Reads a log from its beginning, and later on what has been added."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._rest = b""
        self._fd = _opened(aside(place))

    def lines(self) -> Iterator[Line]:
        """What is there and was not read yet."""
        yield from self._read()
        while (following := self._following()) >= 0:
            yield from self._read()  # what was added before it was put aside
            self.close()
            self._fd = following
            yield from self._read()

    def close(self) -> None:
        """Read no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> Iterator[Line]:
        while self._fd >= 0 and (data := os.read(self._fd, _CHUNK)):
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            for line in lines:
                found = Line.parse(line)
                if found is not None:
                    yield found

    def _following(self) -> int:
        """The file that is written to now; -1 if it is the one that is being read."""
        fd = _opened(self._place)
        if fd >= 0 and self._fd >= 0 and os.path.sameopenfile(fd, self._fd):
            os.close(fd)
            return -1
        return fd


def _opened(place: str) -> int:
    try:
        return os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _now() -> str:
    """The time as RFC 3339 has it, in UTC with nanoseconds: texts compare as their times do."""
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"

"""Work that a thread does ahead of whoever needs it, or beside.

Reading, hashing and inflating release the interpreter's lock, so steps of a stream that are each
in a thread of their own keep as many processors busy.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator

_DEPTH = 8
_PATIENCE = 1.0


def _step_back() -> None:
    """Have this thread not interrupt the one that wakes it (SCHED_BATCH, sched(7)).

    It works in large pieces, while whoever takes them writes many small files and holds the
    interpreter's lock half of the time: measured, two in a hundred of a pull.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        pass  # some sandboxes allow no change


class _End:
    """What a thread puts last into its queue: an error to raise, or None."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Ahead:
    """The same chunks, produced by a thread that runs at most ``depth`` chunks ahead.

    An error of the producer is raised here, in its place. The thread starts at once and ends with
    the last chunk, or when this is closed; what is not read to its end has to be.
    """

    def __init__(self, chunks: Iterable[bytes], depth: int = _DEPTH) -> None:
        # Both are queues of C, which cost no more than a lock: one takes chunks here, the other
        # takes back the leave to make another one. None tells the thread to stop.
        self._ready: queue.SimpleQueue[bytes | _End] = queue.SimpleQueue()
        self._leave: queue.SimpleQueue[bool] = queue.SimpleQueue()
        for _ in range(depth):
            self._leave.put(True)
        self._done = False
        self._thread = threading.Thread(target=self._produce, args=(chunks,), daemon=True)
        self._thread.start()

    def _produce(self, chunks: Iterable[bytes]) -> None:
        _step_back()
        error: BaseException | None = None
        try:
            for chunk in chunks:
                if not self._leave.get():
                    return
                self._ready.put(chunk)
        except BaseException as caught:
            error = caught
        self._ready.put(_End(error))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._done:
            raise StopIteration
        item = self._ready.get()
        if not isinstance(item, _End):
            self._leave.put(True)
            return item
        self._done = True
        # A run may follow, and only a process of one thread can enter a user namespace.
        self._thread.join()
        if item.error is not None:
            raise item.error
        raise StopIteration

    def stop(self) -> None:
        """Have the thread end when it can, and whoever waits for it."""
        self._done = True
        self._leave.put(False)
        self._ready.put(_End(None))

    def close(self) -> None:
        """Stop, and see the thread end; but not for long, since it may wait for a network."""
        self.stop()
        self._thread.join(_PATIENCE)


class Beside:
    """The same chunks, which a thread reads as well, at most ``depth`` chunks behind.

    Whoever takes the last of them waits for ``read`` to return; what that raises is raised here,
    in place of the end or before. What is not read to its end has to be closed.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        read: Callable[[Iterator[bytes]], None],
        depth: int = _DEPTH,
    ) -> None:
        self._chunks = chunks
        self._given: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._leave: queue.SimpleQueue[bool] = queue.SimpleQueue()
        for _ in range(depth):
            self._leave.put(True)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(read,), daemon=True)
        self._thread.start()

    def _run(self, read: Callable[[Iterator[bytes]], None]) -> None:
        _step_back()
        try:
            read(self._handed())
        except BaseException as error:
            self._error = error
        self._leave.put(False)

    def _handed(self) -> Iterator[bytes]:
        while (chunk := self._given.get()) is not None:
            yield chunk
            self._leave.put(True)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            if not self._leave.get():
                break
            self._given.put(chunk)
            yield chunk
        self._given.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Have the thread end when it can."""
        self._given.put(None)

    def close(self) -> None:
        """Stop, and see the thread end."""
        self.stop()
        self._thread.join(_PATIENCE)

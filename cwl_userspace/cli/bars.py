"""Bars on a terminal: one for each layer, and a total for each image. Imports rich.

The flattening knows nothing of it: a source that is watched tells what its image's layers are, and
counts the bytes of those that are asked for as it hands them on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from cwl_userspace.digest import Digest
from cwl_userspace.image.neterrors import printable
from cwl_userspace.image.source import Source
from cwl_userspace.oci import Image, Layer, Platform
from cwl_userspace.reference import ImageReference

_SHORT = 12
# Seconds between two pictures.
_PERIOD = 0.1


class Bars:
    """A picture on standard error that shows all fetches of this process, until ``close``."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=False),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
            # No thread that draws: only a process of one thread can enter a user name space.
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._lock = threading.Lock()
        self._shown: dict[str, list[TaskID]] = {}
        self._drawn = 0.0
        self._progress.start()

    def watch(self, what: str, sources: Sequence[Source]) -> Sequence[Source]:
        """The sources of one image, each of which shows what comes of it."""
        return [Watched(source, what, self) for source in sources]

    def show(self, what: str, layers: Sequence[Layer]) -> tuple[TaskID, list[TaskID]]:
        """New bars for an image, in place of those that it had: for all, and for each layer."""
        self.done(what)
        with self._lock:
            sizes = [layer.blob.size or 0 for layer in layers]
            name = escape(printable(what))
            total = self._progress.add_task(f"[bold]{name}", total=sum(sizes))
            each = [
                self._progress.add_task(f"  {_short(layer)}", total=size, start=False)
                for layer, size in zip(layers, sizes, strict=True)
            ]
            self._shown[what] = [total, *each]
            self._progress.refresh()
            return total, each

    def advance(self, tasks: Sequence[TaskID], count: int) -> None:
        """So many bytes have come."""
        for task in tasks:
            if task in self._progress.task_ids:
                self._progress.start_task(task)
                self._progress.advance(task, count)
        if time.monotonic() - self._drawn > _PERIOD:
            self._drawn = time.monotonic()
            self._progress.refresh()

    def leave_out(self, task: TaskID, total: TaskID, left: int) -> None:
        """A layer will not come, so that only so many bytes are left for all."""
        if task in self._progress.task_ids:
            self._progress.remove_task(task)
            self._progress.update(total, total=left)

    def done(self, what: str) -> None:
        """Remove the bars of an image."""
        with self._lock:
            for task in self._shown.pop(what, ()):
                if task in self._progress.task_ids:
                    self._progress.remove_task(task)

    def say(self, line: str) -> None:
        """A line above the bars, which stays."""
        self._progress.console.print(escape(line), highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the picture."""
        self._progress.stop()


class Watched:
    """A source, with a bar for each layer of the image that it gives, and one for their sum."""

    def __init__(self, source: Source, what: str, bars: Bars) -> None:
        self._source = source
        self._what = what
        self._bars = bars
        # Layers that nobody has asked for yet, from the lowest up, with their bars and sizes.
        self._waiting: dict[Digest, tuple[TaskID, int]] = {}
        self._sum = 0
        self._total = TaskID(0)
        self._lock = threading.Lock()

    @property
    def label(self) -> str:
        """How messages name this source."""
        return self._source.label

    def image(self, reference: ImageReference, platform: Platform) -> Image:
        """The source's image; its layers are shown from now on, as not yet asked for."""
        image = self._source.image(reference, platform)
        self._total, tasks = self._bars.show(self._what, image.layers)
        for layer, task in zip(image.layers, tasks, strict=True):
            size = layer.blob.size or 0
            self._sum += size
            if layer.blob.digest is not None:
                self._waiting[layer.blob.digest] = (task, size)
        return image

    def layer(self, layer: Layer) -> Iterator[bytes]:
        """The source's bytes, counted."""
        task = self._asked_for(layer.blob.digest)
        chunks = self._source.layer(layer)
        return chunks if task is None else self._counted(chunks, task)

    def _counted(self, chunks: Iterator[bytes], task: TaskID) -> Iterator[bytes]:
        for chunk in chunks:
            self._bars.advance((task, self._total), len(chunk))
            yield chunk

    def _asked_for(self, digest: Digest | None) -> TaskID | None:
        """The bar of a layer. What was left out below it is here already, and will not come."""
        with self._lock:
            if digest not in self._waiting:
                return None
            for below, (task, size) in list(self._waiting.items()):
                del self._waiting[below]
                if below == digest:
                    return task
                self._sum -= size
                self._bars.leave_out(task, self._total, self._sum)
        return None


def _short(layer: Layer) -> str:
    return layer.blob.digest.hex[:_SHORT] if layer.blob.digest else "a layer"

"""One line of a terminal that tells how far things are."""

from __future__ import annotations

import sys
import threading


class Line:
    """Shows itself on a terminal only; several threads may write to it."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._lock = threading.RLock()

    def show(self, text: str) -> None:
        """In place of what it has shown so far."""
        if self._live:
            self._write(f"\r\x1b[K{text[:78]}")

    def say(self, text: str) -> None:
        """A line that stays, and that is written elsewhere too."""
        with self._lock:
            self.clear()
            self._write(f"{text}\n")

    def clear(self) -> None:
        if self._live:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        with self._lock:
            sys.stderr.write(text)
            sys.stderr.flush()

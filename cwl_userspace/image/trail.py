"""The directory of the entry before, and those that lead to it: entries come in order."""

from __future__ import annotations

import os

from cwl_userspace.image.confine import NOT_A_DIRECTORY, WALK, MakeDirectory, Parts, Root, Walked

# A hostile name has thousands of steps, and a process some thousand descriptors.
_LONGEST = 32


class Trail:
    """Opens directories below a root, each from the nearest one that is open already.

    Only what was reached without a link is kept, so its real place is the one asked for. Whoever
    removes a directory that is not below the current one has to ``forget`` first.
    """

    def __init__(self, root: Root, make: MakeDirectory) -> None:
        self._root = root
        self._make = make
        self._steps: list[Walked] = []
        self._odd: Walked | None = None
        self._parts: Parts | None = None
        self.current = Walked(root.fd, ())

    def go(self, parts: Parts) -> Walked:
        """The directory of that path, made where it is missing; it is closed by the next call."""
        if parts == self._parts:
            return self.current
        self._parts = None
        if self._odd is not None:
            self._odd.close()
            self._odd = None
        if len(parts) > _LONGEST or not self._walk(parts):
            # Through a link one may come out above what is open, and remove it from there.
            self._back(0)
            self._odd = self._root.open_directory(parts, self._make)
            self.current = self._odd
        self._parts = parts
        return self.current

    def forget(self) -> None:
        """Close all; the next call begins at the root."""
        self._parts = None
        self._back(0)
        if self._odd is not None:
            self._odd.close()
            self._odd = None

    def _walk(self, parts: Parts) -> bool:
        """Go there step by step; False at a step that is no directory."""
        common = 0
        for part, step in zip(parts, self._steps, strict=False):
            if part != step.parts[-1]:
                break
            common += 1
        self._back(common)
        for part in parts[common:]:
            try:
                fd = os.open(part, WALK, dir_fd=self.current.fd)
            except FileNotFoundError:
                self._make.missing(self.current, part)
                fd = os.open(part, WALK, dir_fd=self.current.fd)
            except OSError as error:
                if error.errno not in NOT_A_DIRECTORY:
                    raise
                return False
            self.current = Walked(fd, (*self.current.parts, part))
            self._steps.append(self.current)
        return True

    def _back(self, length: int) -> None:
        while len(self._steps) > length:
            self._steps.pop().close()
        self.current = self._steps[-1] if self._steps else Walked(self._root.fd, ())

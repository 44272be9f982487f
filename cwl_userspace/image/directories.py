"""What the directories of a tree are to be in the end; until then they are the owner's to write.

Each is found by the one that holds it: what goes with a directory is not looked for among all.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cwl_userspace.image.confine import Parts


class Directories:
    """The mode and time of each directory. Of the root they are 0755 and 1970 until it is noted:
    nothing has the time of its making, or an image would have another tree on each host."""

    def __init__(self) -> None:
        self._known: dict[Parts, tuple[int, float]] = {(): (0o755, 0)}
        self._inner: dict[Parts, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def note(self, place: Parts, mode: int, mtime: float) -> None:
        """Keep what a directory is to be, in place of what was noted before."""
        if place and place not in self._known:
            self._inner.setdefault(place[:-1], set()).add(place[-1])
        self._known[place] = (mode, mtime)

    def drop(self, place: Parts) -> None:
        """Forget a directory and all that are in it."""
        gone = [place]
        while gone:
            one = gone.pop()
            self._known.pop(one, None)
            gone += [(*one, inner) for inner in self._inner.pop(one, ())]

    def settle(self, root: int) -> None:
        """Give all their times and modes, children before parents; ``root`` is the tree's."""
        for parts in sorted(self._known, key=len, reverse=True):
            mode, mtime = self._known[parts]
            name = b"/".join(parts) or b"."
            stamp = int(mtime * 1_000_000_000)
            os.utime(name, ns=(stamp, stamp), dir_fd=root, follow_symlinks=False)
            os.chmod(name, mode, dir_fd=root)

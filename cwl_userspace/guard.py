"""The keeper's side of the mode guard: what a container must leave as it is."""

from __future__ import annotations

import os

from cwl_userspace.kernel import modeguard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Guard:
    """Keeps the modes, owners and times of places on the host; see kernel.modeguard."""

    __slots__ = ("_from_child", "_from_keeper", "_protected", "_to_child", "_to_keeper", "listener")

    def __init__(self, protected: Sequence[str]) -> None:
        self._protected = tuple(protected)
        self._from_child, self._to_keeper = os.pipe()
        self._from_keeper, self._to_child = os.pipe()
        self.listener = -1

    def install(self) -> None:
        """In the child: go under the filter, and wait until the keeper answers for it."""
        descriptor = modeguard.install()
        os.write(self._to_keeper, str(descriptor).encode())
        os.close(self._to_child)
        os.read(self._from_keeper, 1)

    def adopt(self, child: int) -> None:
        """In the keeper: take the filter's descriptor over, and let the child go on."""
        os.close(self._to_keeper)
        said = os.read(self._from_child, 16)
        if said:
            self.listener = modeguard.adopt(child, int(said))
        os.close(self._to_child)

    def answer(self) -> None:
        """Serve one call that the filter has stopped."""
        modeguard.answer(self.listener, self._protected)

"""Other people's stores beneath a user's own: a site's images, which nobody need fetch again.

They are looked into where the own store lacks something, and never written: no lock, no time
stamp, no lease. Such a store may be away for a while, as file systems of clusters are, and then
the others do without it.
"""

from __future__ import annotations

import os

from cwl_userspace.errors import StoreError
from cwl_userspace.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Beneath:
    """The stores beneath, in the order in which they are asked; opened when they first are."""

    __slots__ = ("_note", "_paths", "_problems", "_stores")

    def __init__(self, paths: Sequence[str], note: Callable[[str], object]) -> None:
        self._paths = paths
        self._note = note
        self._stores: list[Store] | None = None
        self._problems: list[str] = []

    def stores(self) -> Iterator[Store]:
        """Those that can be read; of another ``note`` says once why it cannot."""
        if self._stores is None:
            self._stores = []
            for path in self._paths:
                store = Store(path)
                store.only_read = True
                self._stores.append(store)
                try:
                    _check(store)
                except StoreError as error:
                    self.leave_out(store, error)
        yield from list(self._stores)

    def leave_out(self, store: Store, error: StoreError) -> None:
        """Do without a store from now on."""
        if self._stores and store in self._stores:
            self._stores.remove(store)
            self._problems.append(error.message)
            self._note(f"the store {store.path} beneath is not used: {error.message}")

    def holds(self, path: str) -> bool:
        """True for a path below one of them."""
        return path.startswith(tuple(os.path.join(place, "") for place in self._paths))

    @property
    def trouble(self) -> str:
        """What was wrong with those that were left out."""
        return "; ".join(self._problems)


def opened(path: str, beneath: Sequence[str], note: Callable[[str], object]) -> Store:
    """A user's own store, with the stores beneath it if there are any."""
    return Store(path, Beneath(beneath, note) if beneath else None)


def _check(store: Store) -> None:
    """Raise StoreError unless there is a store that this release can read."""
    if not store.check():
        raise StoreError(f"there is no store at {store.path}", "mend store_path")

"""What every verb needs: the environment, the settings, the store, the log."""

from __future__ import annotations

import os

from cwl_userspace.log import Log
from cwl_userspace.settings import Settings, load
from cwl_userspace.store.beneath import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cwl_userspace.cli.bars import Bars
    from cwl_userspace.digest import Digest
    from cwl_userspace.process import Usage
    from cwl_userspace.store.records import Record
    from cwl_userspace.store.store import Store


class Context:
    """The caller's environment, and what follows from it; ``usage`` if he wants to know it.

    ``caller`` is the process that has started this one: it may end while an image is fetched.
    """

    __slots__ = ("bars", "caller", "engine", "environ", "log", "settings", "store", "usage")

    def __init__(
        self,
        environ: Mapping[str, str],
        engine: str,
        quiet: bool,
        usage: Usage | None = None,
        offline: bool = False,
    ) -> None:
        self.environ = environ
        self.caller = os.getppid()
        self.settings: Settings = load(environ)
        self.settings.offline = self.settings.offline or offline
        self.engine = engine or self.settings.engine
        self.log = Log(self.settings.state, quiet)
        self.store = opened(self.settings.store, self.settings.beneath, self.log.note)
        self.store.share_files = self.settings.share_files != "never"
        self.store.keep_blobs = self.settings.keep_blobs
        self.store.unpacked_limit = self.settings.unpacked_limit
        if self.settings.local_store:
            self.store.elsewhere = self._elsewhere
        self.usage = usage
        self.bars: Bars | None = None  # of a fetch of several images at once

    def tree(self, record: Record) -> str:
        """The tree that a run of an image takes: one on local disk, where the settings want it.

        Raise PackDamaged if there is none, so that the image has to be fetched again.
        """
        if not self.settings.local_store:
            return self.stored_tree(record)
        from cwl_userspace.localtree import LocalTrees

        return LocalTrees(self.settings.local_store, self.log.note).tree(self.store, record)

    def stored_tree(self, record: Record) -> str:
        """The tree in the store, for what copies, saves or builds; made of its pack if need be."""
        if self.store.has_tree(record.chain):
            return self.store.tree(record.chain)
        from cwl_userspace.trees import stored

        return stored(self.store, record, self.log.note)

    def _elsewhere(self, store: Store, make: Callable[[Store], Digest]) -> Digest:
        """Have a new tree made on local disk; the store gets it as one file."""
        from cwl_userspace.localtree import LocalTrees

        return LocalTrees(self.settings.local_store, self.log.note).build(store, make)

    @property
    def called_by_engine(self) -> bool:
        """True if a workflow engine calls, and says so: ours does."""
        return bool(self.environ.get("CWL_USERSPACE_CALLER"))

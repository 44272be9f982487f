"""What every verb needs: the environment, the settings, the store, the log."""

from __future__ import annotations

from cwl_userspace.log import Log
from cwl_userspace.settings import Settings, load
from cwl_userspace.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cwl_userspace.process import Usage
    from cwl_userspace.store.records import Record


class Context:
    """The caller's environment, and what follows from it; ``usage`` if he wants to know it."""

    __slots__ = ("engine", "environ", "log", "settings", "store", "usage")

    def __init__(
        self, environ: Mapping[str, str], engine: str, quiet: bool, usage: Usage | None = None
    ) -> None:
        self.environ = environ
        self.settings: Settings = load(environ)
        self.engine = engine or self.settings.engine
        self.store = Store(self.settings.store)
        self.store.share_files = self.settings.share_files != "never"
        self.store.keep_blobs = self.settings.keep_blobs
        self.log = Log(self.settings.state, quiet)
        self.usage = usage

    def tree(self, record: Record) -> str:
        """The tree that a run of an image takes: a copy on local disk, where the settings want it.

        Only a run asks here. What is copied, saved or built upon is the one in the store.
        """
        if not self.settings.local_store:
            return self.store.tree(record.chain)
        from cwl_userspace.localtree import local_tree

        return local_tree(self.store, record, self.settings.local_store, self.log.note)

    @property
    def called_by_engine(self) -> bool:
        """True if a workflow engine calls, and says so: ours does."""
        return bool(self.environ.get("CWL_USERSPACE_CALLER"))

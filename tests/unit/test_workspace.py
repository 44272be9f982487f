"""The private directories of a store."""

from __future__ import annotations

from pathlib import Path

from cwl_userspace.store.store import Store
from cwl_userspace.store.workspace import workspace


def test_one_that_cannot_be_removed_spoils_nothing_that_was_made_in_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    store.prepare()
    tops = tmp_path / "store/tmp"
    with workspace(store) as path:
        aside = tops.rename(tmp_path / "aside")
        tops.touch()  # no directory any more, as far as who removes it can tell
    assert (aside / Path(path).name).is_dir()

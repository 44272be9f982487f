"""A command with a store of its own, and a canary that every test must leave as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Command
from tests.images import NAME, oci_directory, plain
from tests.trees import Canary, Snapshot


class Images:
    """Load images of given layers (tars)."""

    def __init__(self, command: Command, top: Path) -> None:
        self.command = command
        self._top = top
        self._count = 0

    def layout(self, *layers: bytes, name: str = NAME) -> Path:
        self._count += 1
        return oci_directory(self._top / f"image{self._count}", layers, plain, name)

    def tree(self, *layers: bytes, name: str = NAME) -> Snapshot:
        """The tree of an image that must be accepted, without its root."""
        tree = self.command.accepts(self.layout(*layers, name=name), name)
        del tree["."]
        return tree

    def refused(self, *layers: bytes) -> str:
        """What is said of an image that must be refused."""
        return self.command.refuses(self.layout(*layers))

    def either(self, *layers: bytes) -> Snapshot | None:
        """The tree, or None if the image was refused cleanly."""
        result = self.command.load(self.layout(*layers))
        if result.returncode:
            self.command.assert_refused(result)
            return None
        self.command.assert_no_litter()
        tree = self.command.tree()
        del tree["."]
        return tree


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def images(command: Command, tmp_path: Path) -> Images:
    return Images(command, tmp_path)


@pytest.fixture(autouse=True)
def canary(tmp_path: Path) -> Iterator[Canary]:
    guarded = Canary(tmp_path / "canary")
    yield guarded
    guarded.assert_unchanged()

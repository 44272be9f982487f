"""Every layer of the catalogue that is odd or hostile gets its verdict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.catalogue import ACCEPTED, ODD, cases, escapes
from tests.command import Command
from tests.security.conftest import Images
from tests.trees import Canary

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", ODD)
def test_what_is_merely_odd_is_taken(images: Images, name: str) -> None:
    assert images.tree(*ODD[name]) or name == "files of AUFS" or name == "devices and pipes"


def test_a_tree_of_sparse_files_is_what_was_written_down(images: Images) -> None:
    for position, name in enumerate(ODD):
        if name.startswith("sparse"):
            images.tree(*ODD[name], name=f"test:{position}")
            result = images.command("verify", f"test:{position}")
            assert (result.returncode, result.stderr) == (0, b""), result


@pytest.mark.parametrize("name", escapes())
def test_what_wants_to_get_out_stays_inside(images: Images, canary: Canary, name: str) -> None:
    images.either(*escapes(str(canary))[name])


def test_a_case_can_be_written_by_hand(command: Command, tmp_path: Path) -> None:
    for name in ("sparse: format 1.0", "negative size"):
        place = tmp_path / name.replace(" ", "")
        subprocess.run(
            [sys.executable, "-m", "tests.catalogue", "--pack", "zstd", name, str(place)],
            cwd=Path(__file__).parents[2],
            check=True,
        )
        result = command.load(place)
        assert (result.returncode == 0) == (cases()[name].verdict == ACCEPTED)

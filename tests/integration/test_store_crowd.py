"""Many at once, and killed at any moment: small shares of what conformance.store does at length."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.store import sample
from conformance.store.crashes import PHASES, disturb
from conformance.store.crowd import crowd
from conformance.store.served import Served, serving
from conformance.store.stores import Trial, contents
from cwl_userspace.image.confine import remove_tree
from tests.containers import waiting

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("served")
    # As many small files as it takes that a kill between the last byte fetched and the last file
    # written is not a matter of luck, on a busy machine too.
    sample.write(place / "layout", layers=2, small=500, large=6 << 20)
    with serving(place / "layout", place) as found:
        yield found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory whose closed trees are removed."""
    yield tmp_path
    remove_tree(str(tmp_path))


@pytest.mark.parametrize("nodes", [0, 2])
def test_of_many_that_pull_at_once_one_downloads(place: Path, served: Served, nodes: int) -> None:
    crowd(Trial(place), served, 5, nodes, None)


def test_nobody_waits_for_one_who_was_killed(place: Path, served: Served) -> None:
    """Here at once; the other node's are dead when they have been silent for some beats."""
    trial = Trial(place)
    for node in ("", "node-3"):
        trial.phases.write_text("")
        with trial.start("pull", served.image, node=node) as first:
            for _ in waiting(30):
                if "+download" in trial.phases.read_text():
                    break
            (pid,) = {int(line.split()[0]) for line in trial.phases.read_text().splitlines()} or {0}
            assert pid
            first.send_signal(signal.SIGKILL)  # of unshare, which takes its children with it
            first.communicate()
        trial.call("pull", served.image)
        trial.call("prune", "--all", "--force")


@pytest.mark.timeout(600)
def test_kills_at_any_moment_leave_a_store_that_works_and_can_be_cleaned(
    place: Path, served: Served
) -> None:
    killer = disturb(place, served.image, 5, seed=5, least=1)
    assert all(killer.hits[name] for name in PHASES), killer.hits
    assert contents(place / "fresh" / "store" / "trees")
    assert "disturbed" in os.listdir(place) and not (place / "disturbed" / "store").exists()

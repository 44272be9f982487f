"""Loads of which a system call fails, or that are killed at it: the store stays whole.

``tox -e faults`` goes through every call of every kind; here are those at which most is at stake.
"""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cwl_userspace.store.store import MARK
from tests.command import Command
from tests.failing import KILL, LAYERS, Fault, Trial
from tests.images import oci_directory

pytestmark = pytest.mark.once

FULL, DAMAGED = "error=ENOSPC", "error=EIO"
FAULTS = [
    *(Fault("rename", KILL, when) for when in (2, 4, 5, 6)),
    Fault("rename", FULL, 3),
    Fault("mkdirat", FULL, 1),
    Fault("symlinkat", FULL, 1),
    Fault("linkat", DAMAGED, 1),
    Fault("fchmodat", DAMAGED, 1),
]


def test_a_load_that_fails_or_is_killed_anywhere_leaves_whole_images_or_none(
    tmp_path: Path,
) -> None:
    trial = Trial(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(trial.judge, FAULTS))
    missed = [fault for fault, outcome in zip(FAULTS, outcomes, strict=True) if not outcome.hit]
    assert missed == []
    assert sum(outcome.code != 0 for outcome in outcomes) == len(outcomes)


def test_a_tree_whose_sync_fails_is_compared_by_the_next_and_synced_again(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    command, outcome = trial.load(Fault("syncfs", DAMAGED, 1))
    assert (outcome.code, "INJECTED" in outcome.hit) == (0, True), outcome
    (tree,) = (command.store / "trees").iterdir()
    assert os.readlink(tree / MARK) == "failed"
    assert command.tree() == trial.expected
    assert not (tree / MARK).is_symlink()


def test_a_tree_has_a_mark_from_before_it_can_be_seen_until_it_is_on_the_disk(
    command: Command, tmp_path: Path
) -> None:
    """Or a crash of the host would leave files without content under a name that counts."""
    image = oci_directory(tmp_path / "image", LAYERS)
    log = tmp_path / "log"
    words = ["strace", "-f", "-y", "-o", str(log)]
    words += ["-e", "trace=syncfs,rename,symlink,unlinkat,openat,write"]
    subprocess.run([*words, *command.words("load", "-i", image)], env=command.environ, check=True)
    lines = log.read_text(errors="replace").splitlines()

    def only(pattern: str) -> int:
        (found,) = [n for n, line in enumerate(lines) if re.search(pattern, line)]
        return found

    marked = only(rf'symlink\(.*/tmp/.*/{MARK}"')
    seen = only(r'rename\(.*/trees/[0-9a-f]+"')
    synced = only(r"syncfs\(.*(= 0|resumed)")
    removed = only(rf'unlinkat\(.*/trees/[0-9a-f]+>, "{MARK}"')
    assert marked < seen < synced < removed
    named = only(r'rename\(.*/names/[^/]+"')  # so that it is synced with the tree
    assert "rootfs" not in "\n".join(lines[seen:]) and named < synced

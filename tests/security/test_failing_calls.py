"""Loads of which a system call fails, or that are killed at it: the store stays whole.

``tox -e faults`` goes through every call of every kind; here are those at which most is at stake.
"""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

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
    Fault("syncfs", DAMAGED, 1),
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


def test_a_tree_is_on_the_disk_before_it_can_be_seen(command: Command, tmp_path: Path) -> None:
    """Or a crash of the host would leave files without content under a name that counts."""
    image = oci_directory(tmp_path / "image", LAYERS)
    log = tmp_path / "log"
    words = ["strace", "-f", "-y", "-o", str(log), "-e", "trace=syncfs,rename,openat,write"]
    subprocess.run([*words, *command.words("load", "-i", image)], env=command.environ, check=True)
    lines = log.read_text(errors="replace").splitlines()
    synced = [n for n, line in enumerate(lines) if re.search(r"syncfs\(.*/tmp/.* = 0", line)]
    seen = [n for n, line in enumerate(lines) if re.search(r'rename\(.*/trees/[0-9a-f]+"', line)]
    assert len(synced) >= 1 and len(seen) == 1 and synced[-1] < seen[0]
    between = "\n".join(lines[synced[-1] : seen[0]])
    assert "rootfs" not in between and "write(" not in between

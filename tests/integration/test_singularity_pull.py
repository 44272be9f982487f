"""``singularity pull`` where jobs of a workflow want one image in one file at the same time."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from cwl_userspace.store.lease import lease
from cwl_userspace.store.store import LEASES, Store
from tests.containers import PATIENCE, Home, waiting
from tests.singularity import FAILED, Singularity

# Nothing here depends on who the user is.
pytestmark = pytest.mark.once
PULL = ("pull", "--name")
OFFLINE = {"CWL_USERSPACE_OFFLINE": "1"}
IMAGE = "docker://busybox"


@pytest.fixture(scope="module")
def singularity(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Singularity:
    return Singularity(home, tmp_path_factory.mktemp("shims"))


def test_a_file_that_holds_the_image_already_is_left_as_it_is(
    singularity: Singularity, tmp_path: Path
) -> None:
    """Another job had it pulled, after this one has looked for it: nothing is wrong then."""
    target = tmp_path / "a.sif"
    assert singularity(*PULL, "a.sif", IMAGE, cwd=tmp_path, more=OFFLINE).text == ""
    before = target.stat()
    assert singularity(*PULL, "a.sif", IMAGE, cwd=tmp_path, more=OFFLINE).text == ""
    assert target.stat() == before
    assert singularity(*PULL, "a.sif", "--force", IMAGE, cwd=tmp_path, more=OFFLINE).text == ""
    assert target.stat().st_ino != before.st_ino
    other = singularity(*PULL, "a.sif", "docker://configured", cwd=tmp_path, more=OFFLINE)
    assert other.code == FAILED and "a.sif is there already" in other.complaint
    target.write_bytes(target.read_bytes()[:-1])
    changed = singularity(*PULL, "a.sif", IMAGE, cwd=tmp_path, more=OFFLINE)
    assert changed.code == FAILED and "--force" in changed.complaint


def test_of_those_that_write_one_file_at_once_one_packs_the_image(
    singularity: Singularity, tmp_path: Path
) -> None:
    """The others wait for that one, and take what it has written. build asks for no other lease."""
    assert singularity(*PULL, "first.sif", IMAGE, cwd=tmp_path, more=OFFLINE).text == ""
    target = tmp_path / "wanted.sif"
    store = Store(singularity.environment["CWL_USERSPACE_HOME"])
    name = hashlib.sha256(os.fsencode(target)).hexdigest()
    leases = Path(store.path, LEASES)
    with lease(store, f"written-{name}"):
        before = set(leases.glob(".*"))
        waits = subprocess.Popen(
            [singularity.place / "singularity", "build", target, IMAGE],
            env={**singularity.environment, **OFFLINE},
        )
        assert any(set(leases.glob(".*")) - before for _ in waiting(PATIENCE))
        assert waits.poll() is None and not target.exists()
        target.hardlink_to(tmp_path / "first.sif")
    assert waits.wait(PATIENCE) == 0
    assert target.samefile(tmp_path / "first.sif")

"""Ids of its own for root in a container: real root's, or the subordinate ids of a user.

What is expected depends on whether the user who runs the tests has such ids.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from cwl_userspace import subids
from tests.containers import Box, Home

REAL = not subids.mappable()["reason"]
CHANGE = """touch /data/f && chown 33:44 /data/f && stat -c %u:%g /data/f
    setpriv --reuid 33 --regid 44 --clear-groups sh -c 'id -u; id -g' 2>&- || echo refused"""
DONE, GRANTED = "33:44\n", "0:0\n"


@pytest.fixture
def userns(home: Home) -> Box:
    return Box(home, "userns")


def test_ownership_is_real_where_nothing_can_be_left_behind(userns: Box, tmp_path: Path) -> None:
    for options in ([], ["-v", f"{tmp_path}:/in:ro"]):
        ran = userns.sh(CHANGE, "-u", "root", *options)
        assert ran.out.decode().startswith(DONE if REAL else GRANTED), ran


def test_no_file_of_another_owner_is_left_where_the_user_could_not_remove_it(
    userns: Box, tmp_path: Path
) -> None:
    script = "touch /out/f && chown 33:44 /out/f && stat -c %u:%g /out/f"
    ran = userns.sh(script, "-u", "root", "-v", f"{tmp_path}:/out")
    owner = (tmp_path / "f").stat()
    if os.geteuid() == 0:  # who can remove them all
        assert (ran.text, owner.st_uid) == (DONE, 33)
    else:
        assert (ran.text, owner.st_uid) == (GRANTED, os.geteuid())


def test_emulated_ids_can_be_asked_for(userns: Box) -> None:
    script = "touch /data/f && chown 33:44 /data/f && stat -c %u:%g /data/f"
    emulated = {"CWL_USERSPACE_ROOT_IDS": "emulated"}
    assert userns.sh(script, "-u", "root", environment=emulated).text == GRANTED


def test_mapped_ids_are_had_or_refused_and_what_they_leave_can_be_removed(
    userns: Box, tmp_path: Path
) -> None:
    home = userns.home
    name = f"mapped-{uuid.uuid4().hex[:8]}"
    home.call("create", "--name", name, "busybox")
    for place in ("memory", str(tmp_path)):
        mapped = {"CWL_USERSPACE_ROOT_IDS": "mapped", "CWL_USERSPACE_ROOT_UPPER": place}
        script = "mkdir -m 700 /data/d && touch /data/d/f && chown -R 33:44 /data/d && ls -n /data"
        for image in ("busybox", name):
            ran = userns.sh(script, "-u", "root", image=image, environment=mapped)
            if REAL:
                assert "33       44" in ran.text
            else:
                assert ran.code == 125 and "root cannot be given ids" in ran.complaint
            userns.sh("rm -rf /data/d", "-u", "root", image=image, environment=mapped)
    assert os.listdir(tmp_path) == []
    ran = userns.sh(
        "mkdir -m 700 /data/d && touch /data/d/f && chown -R 33:44 /data/d",
        "-u",
        "root",
        image=name,
        environment=mapped,
    )
    assert (ran.code == 0) == REAL
    assert home.call("rm", name).text == f"{name}\n"
    assert not (home.place / "store" / "containers" / name).exists()


def test_only_root_has_ids_and_the_group_that_was_asked_for_is_its_own(userns: Box) -> None:
    assert userns.sh("id -u; id -g", "-u", "root:777").text == "0\n777\n"
    assert userns.sh("cat /proc/self/uid_map", "-u", "1234").text.split()[2] == "1"
    lines = userns.sh("cat /proc/self/uid_map", "-u", "root").text.splitlines()
    assert sum(int(line.split()[2]) for line in lines) > 1 or not REAL

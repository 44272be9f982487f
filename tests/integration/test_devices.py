"""``--device``, /dev/shm and what else is or is not below /dev and /sys, in namespaces."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.containers import Box, Home

ENGINES = ("userns", "chroot") if os.geteuid() == 0 else ("userns",)


@pytest.fixture(params=ENGINES)
def spaced(request: pytest.FixtureRequest, home: Home) -> Box:
    return Box(home, request.param)


def test_a_device_is_shown_where_it_is_asked_for(spaced: Box) -> None:
    options = ["--device", "/dev/zero:/dev/my/zero", "--device=/dev/null:/dev/nothing:rwm"]
    script = (
        "head -c 3 /dev/my/zero | od -An -tx1; echo x > /dev/nothing; stat -c %t:%T /dev/nothing"
    )
    assert spaced.sh(script, *options).text == " 00 00 00\n1:3\n"
    assert spaced.sh(script, *options, "-u", "root").text == " 00 00 00\n1:3\n"
    assert spaced.sh("ls /dev/my /dev/nothing 2>&- | wc -l").text == "0\n"


def test_a_device_that_every_container_has_may_be_asked_for_too(spaced: Box) -> None:
    assert spaced.sh("head -c 1 /dev/zero | wc -c", "--device", "/dev/zero").text == "1\n"


def test_a_device_in_a_volume_is_none(spaced: Box, tmp_path: Path) -> None:
    assert spaced.sh("cat /host/null", "-v", "/dev:/host").code == 1


@pytest.mark.parametrize("size", ["1m", "3m"])
def test_shared_memory_is_of_the_size_asked_for(spaced: Box, size: str) -> None:
    script = "df -P /dev/shm | tail -1 | awk '{print $2}'"
    assert spaced.sh(script, "--shm-size", size).text == f"{int(size[0]) << 10}\n"
    assert spaced.sh(script).text == f"{64 << 10}\n"


def test_there_is_no_sys_unless_it_is_asked_for(spaced: Box) -> None:
    assert spaced.sh("ls /sys 2>&-").out == b""
    ran = spaced.sh("ls /sys; echo x > /sys/kernel/profiling", "-v", "/sys:/sys:ro")
    assert b"kernel\n" in ran.out and ran.code != 0


def test_dev_itself_can_be_replaced(spaced: Box, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine\n")
    other = ["-v", f"{tmp_path}:/in"]
    assert (
        spaced.sh("cat /dev/mine /in/mine", "-v", f"{tmp_path}:/dev", *other).text == "mine\n" * 2
    )


def test_no_privileges_are_gained_and_root_loses_what_docker_takes(spaced: Box) -> None:
    script = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; unshare -U true 2>&- || echo no"
    for user in ([], ["-u", "root"]):
        assert spaced.sh(script, *user).text == "NoNewPrivs:\t1\nSeccomp:\t2\nno\n"

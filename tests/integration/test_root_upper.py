"""Where a container's root keeps what is written to it, and how much that may be (userns)."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.containers import Box, Home, Word, manifest, waiting

WRITE = "mkdir -p /data/deep && rm -r /home && echo x >> /etc/passwd && ls / && df -P / | tail -1"


@pytest.fixture
def userns(home: Home) -> Box:
    return Box(home, "userns")


def setting(value: str) -> dict[str, str]:
    return {"CWL_USERSPACE_ROOT_UPPER": value}


@pytest.mark.parametrize(
    "user", [[], ["-u", "root"], ["-u", "1234"]], ids=["self", "root", "other"]
)
@pytest.mark.parametrize("place", ["memory", "disk", "{0}"])
def test_what_is_written_is_seen_and_gone_afterwards(
    userns: Box, tmp_path: Path, place: str, user: list[Word]
) -> None:
    before, left = manifest(userns.home.tree("busybox")), {*userns.home.leftovers}
    environment = setting(place.format(tmp_path))
    ran = userns.sh(WRITE, *user, environment=environment)
    assert "data" in ran.text and "home" not in ran.text
    assert userns.sh("ls -d /home /data/*", environment=environment).out == b"/home\n"
    assert manifest(userns.home.tree("busybox")) == before
    assert {*userns.home.leftovers} <= left and os.listdir(tmp_path) == []


def written_on_disk(box: Box, tmp_path: Path, place: str) -> list[str]:
    """What is in the run's directory while a container writes to its root."""
    process = box.start_sh(
        "echo text > /data/written; echo ready; exec sleep 1000", environment=setting(place)
    )
    found = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("written")]
    process.terminate()
    process.wait()
    return found


def test_only_on_disk_files_are_below_the_directory_that_is_set(
    userns: Box, tmp_path: Path
) -> None:
    (found,) = written_on_disk(userns, tmp_path, str(tmp_path))
    assert found.startswith("cwl-userspace-") and found.endswith("upper/data/written")
    assert written_on_disk(userns, tmp_path, "memory") == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_nothing_on_disk(userns: Box, tmp_path: Path, number: int) -> None:
    script = "mkdir -m 0 /data/closed; echo ready; exec sleep 1000"
    process = userns.start_sh(script, environment=setting(str(tmp_path)))
    assert os.listdir(tmp_path) != []
    process.send_signal(number)
    process.wait()
    assert any(not os.listdir(tmp_path) for _ in waiting(5))


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (["--storage-opt", "size=3m"], {}),
        (["--storage-opt=size=3MiB"], {"CWL_USERSPACE_ROOT_SIZE": "1g"}),
        ([], {"CWL_USERSPACE_ROOT_SIZE": "3m"}),
    ],
)
def test_a_root_takes_no_more_than_its_size(
    userns: Box, options: Sequence[Word], environment: dict[str, str]
) -> None:
    script = (
        "head -c 2000000 /dev/zero > /data/a && head -c 2000000 /dev/zero > /data/b && echo fits"
    )
    ran = userns.sh(script, *options, environment=environment)
    assert ran.out == b"" and b"head" in ran.err
    assert userns.sh(script, environment={"CWL_USERSPACE_ROOT_SIZE": "30m"}).text == "fits\n"


def test_a_size_beyond_the_memory_goes_to_disk(userns: Box, tmp_path: Path) -> None:
    options = ["--storage-opt", "size=900t"]
    process = userns.start_sh(
        "echo ready; exec sleep 1000", *options, environment={"TMPDIR": str(tmp_path)}
    )
    assert list(tmp_path.rglob("upper"))
    process.terminate()
    process.wait()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("option", ["size=", "size=-1m", "size=x", "other=1", "size"])
def test_a_storage_option_without_meaning_is_refused(userns: Box, option: str) -> None:
    ran = userns.run("--storage-opt", option, "busybox", "true")
    assert ran.code == 125 and "--storage-opt" in ran.complaint


@pytest.mark.parametrize("name", ["UPPER", "SIZE", "IDS"])
def test_a_setting_without_meaning_is_refused(userns: Box, name: str) -> None:
    ran = userns.run("busybox", "true", environment={f"CWL_USERSPACE_ROOT_{name}": "sideways"})
    assert ran.code == 125 and f"root_{name.lower()} is 'sideways'" in ran.complaint

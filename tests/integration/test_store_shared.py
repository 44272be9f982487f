"""One store for many: processes at once, processes that are killed, and no locks."""

from __future__ import annotations

import errno
import json
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tars
from tests.command import Command
from tests.images import NAME, oci_directory
from tests.trees import Snapshot, file, snapshot

LAYERS = [
    tars.layer(*(tars.file(f"d{i % 9}/f{i}", b"%d" % i * 999, 0o600 + i % 64) for i in range(120))),
    tars.layer(tars.whiteout("d1/f1"), tars.opaque("d2"), tars.directory("d3", 0o555)),
]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return oci_directory(tmp_path / "image", LAYERS)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The tree of the image, as one process makes it that nobody disturbs."""
    top = tmp_path_factory.mktemp("expected")
    return Command(top).accepts(oci_directory(top / "image", LAYERS))


def mirror(top: Path, image: Path) -> str:
    """The path of a configuration that has the image's layout stand for the registry."""
    config = top / "config.yml"
    config.write_text(f'registries:\n  docker.io:\n    mirrors: ["oci:{image}"]\n')
    return str(config)


@pytest.mark.parametrize("verb", ["load", "pull"])
def test_many_processes_make_one_image_at_once(
    command: Command, image: Path, expected: Snapshot, verb: str
) -> None:
    words = ["load", "-i", str(image)] if verb == "load" else ["pull", NAME]
    config = mirror(command.top, image)
    started = [command.start(*words, CWL_USERSPACE_CONFIG=config) for _ in range(12)]
    for process in started:
        out, err = process.communicate(timeout=50)
        assert (process.returncode, err) == (0, b""), out
    assert command.tree() == expected
    assert len(command.listing("trees")) == len(command.listing("names")) == 1
    assert len(command.listing("images")) == 1
    command.assert_no_litter()


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory, where other users of the disk do not decide how long a load takes."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield Path(path)


def test_a_load_that_is_killed_leaves_whole_images_or_none(
    memory: Path, image: Path, expected: Snapshot
) -> None:
    chance = random.Random(50)
    start = time.monotonic()
    assert Command(_made(memory / "undisturbed")).load(image).returncode == 0
    duration = time.monotonic() - start
    for attempt in range(20):
        command = Command(_made(memory / str(attempt)))
        process = command.start("load", "-i", image)
        time.sleep(chance.uniform(0.2, 1.1) * duration)
        process.kill()
        process.communicate()
        assert_whole(command, expected)
        assert command.load(image).returncode == 0
        assert len(command.listing("trees")) == len(command.listing("names")) == 1
        assert_whole(command, expected)
        command.assert_no_litter()


def test_killed_processes_cannot_pile_up_litter(command: Command, image: Path) -> None:
    for attempt in range(6):
        process = command.start("load", "-i", image)
        deadline = time.monotonic() + 20
        while process.poll() is None and not command.listing("tmp") and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL if attempt % 2 else signal.SIGTERM)
        process.communicate()
        assert len(command.listing("tmp")) <= 3
    assert command.load(image).returncode == 0
    command.assert_no_litter()


def assert_whole(command: Command, expected: Snapshot) -> None:
    """Whatever can be seen in the store is complete."""
    trees = command.listing("trees")
    for chain in trees:
        assert snapshot(command.store / "trees" / chain / "rootfs") == expected
    for name in command.listing("names"):
        named = json.loads((command.store / "names" / name).read_bytes())["image"][7:]
        record = json.loads((command.store / "images" / f"{named}.json").read_bytes())
        assert record["chain"].removeprefix("sha256:") in trees


def _made(path: Path) -> Path:
    path.mkdir()
    return path


SHIM = """
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int flock(int fd, int operation) {
    close(open(getenv("FLOCK_SEEN"), O_WRONLY | O_CREAT, 0600));
    errno = ENOLCK;
    return -1;
}
int refuse(void) { errno = atoi(getenv("LINK_ERROR")); return -1; }
int link(const char *from, const char *to) { return refuse(); }
int linkat(int a, const char *from, int b, const char *to, int flags) { return refuse(); }
"""


@pytest.mark.parametrize("error", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_neither_locks_nor_hard_links_are_needed(
    command: Command, image: Path, expected: Snapshot, tmp_path: Path, error: int
) -> None:
    """As on NFS without a lock daemon, on Lustre, or on file systems that know no hard links."""
    source, shim, seen = tmp_path / "shim.c", tmp_path / "shim.so", tmp_path / "seen"
    source.write_text(SHIM)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", shim, source], check=True)
    environ = {
        "LD_PRELOAD": str(shim),
        "FLOCK_SEEN": str(seen),
        "LINK_ERROR": str(error),
        "CWL_USERSPACE_CONFIG": mirror(tmp_path, image),
    }
    started = [command.start("pull", NAME, **environ) for _ in range(2)]
    for process in started:
        out, err = process.communicate(timeout=50)
        assert (process.returncode, err) == (0, b""), out
    assert not seen.exists()
    assert command.tree() == expected
    assert len(command.listing("trees")) == 1
    assert command.listing("leases") == []
    command.assert_no_litter()


def test_an_image_that_is_removed_can_be_loaded_again(command: Command, image: Path) -> None:
    first = command.accepts(image)
    assert command("rmi", NAME).returncode == 0
    command.assert_no_trees()
    assert command("inspect", NAME).returncode == 1
    assert command.accepts(image) == first


def test_images_of_the_same_layers_share_a_tree(command: Command, tmp_path: Path) -> None:
    for name in ("one:1", "two:1"):
        command.accepts(oci_directory(tmp_path / name, LAYERS, name=name), name)
    assert command.path("one:1") == command.path("two:1")
    assert command("rmi", "one:1").returncode == 0
    assert command.tree("two:1")["d1/f10"].content == file(b"10" * 999).content
    assert command("rmi", "two:1").returncode == 0
    command.assert_no_trees()

"""One store for many: processes at once, kills, disks full or read-only, no locks."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tars
from tests.command import Command, Result
from tests.images import NAME, oci_directory, plain
from tests.trees import Snapshot, file, snapshot

LAYERS = [
    tars.layer(*(tars.file(f"d{i % 9}/f{i}", b"%d" % i * 999, 0o600 + i % 64) for i in range(120))),
    tars.layer(tars.whiteout("d1/f1"), tars.opaque("d2"), tars.directory("d3", 0o555)),
]
MIB = 1 << 20


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


def in_namespace(script: str, *words: str | Path, command: Command) -> Result:
    """Run a script where it may mount file systems that nobody else sees."""
    return subprocess.run(
        ["unshare", "-Urm", "sh", "-eu", "-c", script, "sh", *map(str, words)],
        env={**command.environ, "PYTHON": sys.executable},
        capture_output=True,
        timeout=50,
        check=False,
    )


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
    int seen = open(getenv("FLOCK_SEEN"), O_WRONLY | O_CREAT, 0600);
    if (seen >= 0) close(seen);
    errno = atoi(getenv("FLOCK_ERROR"));
    return errno ? -1 : 0;
}
"""


@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EIO", ""])
def test_locks_are_not_needed(
    command: Command, image: Path, expected: Snapshot, tmp_path: Path, error: str
) -> None:
    """As on NFS without a lock daemon, on Lustre, or where flock says yes and locks nothing."""
    source, shim, seen = tmp_path / "shim.c", tmp_path / "shim.so", tmp_path / "seen"
    source.write_text(SHIM)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", shim, source], check=True)
    environ = {
        "LD_PRELOAD": str(shim),
        "FLOCK_SEEN": str(seen),
        "FLOCK_ERROR": str(_errno(error)),
        "CWL_USERSPACE_CONFIG": mirror(tmp_path, image),
    }
    started = [command.start("pull", NAME, **environ) for _ in range(3)]
    for process in started:
        out, err = process.communicate(timeout=50)
        assert (process.returncode, err) == (0, b""), out
    assert seen.exists()
    assert command.tree() == expected
    assert len(command.listing("trees")) == 1
    command.assert_no_litter()


def _errno(name: str) -> int:
    import errno

    return int(getattr(errno, name)) if name else 0


FULL = """
mkdir -p "$CWL_USERSPACE_HOME"
mount -t tmpfs -o "$2" none "$CWL_USERSPACE_HOME"
if "$PYTHON" -m cwl_userspace load -i "$1"; then exit 99; else code=$?; fi
cd "$CWL_USERSPACE_HOME"
for place in tmp trees names images; do test -z "$(ls -A $place)" || ls -lA $place >&2; done
mount -o remount,size=64m,nr_inodes=5000 none "$CWL_USERSPACE_HOME"
"$PYTHON" -m cwl_userspace load -i "$1"
test "$(cat "$("$PYTHON" -m cwl_userspace inspect -p test:1)/big" | wc -c)" = 8388608
exit "$code"
"""


@pytest.mark.parametrize("limit", ["size=4m", "size=8m,nr_inodes=5000", "size=64m,nr_inodes=50"])
def test_a_full_disk_is_named_and_enough_room_cures_it(
    command: Command, tmp_path: Path, limit: str
) -> None:
    layers = [tars.layer(tars.file("big", os.urandom(8 * MIB))), LAYERS[0]]
    image = oci_directory(tmp_path / "image", layers, plain)
    result = in_namespace(FULL, image, limit, command=command)
    assert result.returncode == 125, result
    assert result.stdout == b"Loaded image: test:1\n"
    said = result.stderr.decode()
    assert said.startswith("cwl-userspace: no space left") and said.count("\n") == 1, said
    assert str(command.store) in said


NEARLY_FULL = """
for free in $(seq 11 24); do
    store=$CWL_USERSPACE_HOME/$free
    mkdir -p "$store"
    mount -t tmpfs -o "size=4m,nr_inodes=$free" none "$store"
    if CWL_USERSPACE_HOME=$store "$PYTHON" -m cwl_userspace load -i "$1"; then
        CWL_USERSPACE_HOME=$store "$PYTHON" -m cwl_userspace inspect -p test:1
        echo loaded
    else
        for place in tmp names; do
            test ! -d "$store/$place" || test -z "$(ls -A "$store/$place")"
        done
        echo full
    fi
done
"""


def test_a_disk_may_be_full_at_any_moment(command: Command, tmp_path: Path) -> None:
    """One more inode each time: the last ones that are lacking are those of record and name."""
    image = oci_directory(tmp_path / "image", [tars.layer(tars.file("f"))])
    result = in_namespace(NEARLY_FULL, image, command=command)
    assert result.returncode == 0, result
    lines = result.stdout.decode().split("\n")
    assert "full" in lines and "loaded" in lines
    assert lines.index("loaded") > max(i for i, line in enumerate(lines) if line == "full")
    complaints = result.stderr.decode().splitlines()
    assert len(complaints) == lines.count("full")
    assert all(line.startswith("cwl-userspace: no space left") for line in complaints)


READ_ONLY = """
mount --bind "$CWL_USERSPACE_HOME" "$CWL_USERSPACE_HOME"
mount -o remount,bind,ro,nosuid,nodev "$CWL_USERSPACE_HOME"
"$PYTHON" -m cwl_userspace images -q
"$PYTHON" -m cwl_userspace inspect -p test:1
"$PYTHON" -m cwl_userspace load -i "$1"
! "$PYTHON" -m cwl_userspace rmi test:1
! "$PYTHON" -m cwl_userspace load -i "$2"
"""


def test_a_store_on_a_read_only_file_system_is_read(
    command: Command, image: Path, tmp_path: Path
) -> None:
    command.accepts(image)
    path = command.path()
    other = oci_directory(tmp_path / "other", [tars.layer(tars.file("x"))], name="other:1")
    result = in_namespace(READ_ONLY, image, other, command=command)
    assert str(path) in result.stdout.decode().splitlines()
    complaints = result.stderr.decode().splitlines()
    assert complaints and all(line.startswith("cwl-userspace: ") for line in complaints)
    assert not any("Traceback" in line for line in complaints)


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user of the host can reach."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as path:
        os.chmod(path, 0o755)
        yield Path(path)


def test_a_store_that_belongs_to_somebody_else_is_read(public: Path) -> None:
    command = Command(public)
    layer = tars.layer(tars.file("f", b"x"), tars.file("secret", b"s", 0o600))
    assert command.load(oci_directory(public / "image", [layer])).returncode == 0
    path = command.path()
    if os.geteuid() == 0:
        other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    else:
        other = []
        subprocess.run(["chmod", "-R", "a-w", command.store], check=True)
    try:
        for verb, shown in ((["images"], "test"), (["inspect", "-p", NAME], str(path))):
            result = subprocess.run(
                [*other, *command.words(*verb)],
                env={**command.environ, "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                check=False,
            )
            assert (result.returncode, result.stderr) == (0, b""), result
            assert shown in result.stdout.decode()
        assert subprocess.run([*other, "cat", path / "f"], capture_output=True).stdout == b"x"
        result = subprocess.run(
            [*other, *command.words("import", "-", "new:1")],
            input=tars.layer(tars.file("new")),
            env=command.environ,
            capture_output=True,
            check=False,
        )
        assert result.returncode == 125 and result.stderr.count(b"\n") == 1, result
        assert b"CWL_USERSPACE_HOME" in result.stderr
    finally:
        if os.geteuid():
            subprocess.run(["chmod", "-R", "u+w", command.store], check=True)


@pytest.mark.parametrize("found", ["2\n", "", "one", "\xff", "1\n2\n"])
def test_a_store_of_another_format_is_left_alone(command: Command, image: Path, found: str) -> None:
    command.store.mkdir()
    (command.store / "format").write_bytes(found.encode("latin-1"))
    for words in (["load", "-i", str(image)], ["images"], ["inspect", NAME], ["rmi", NAME]):
        result = command(*words)
        assert result.returncode == 125, words
        assert result.stderr.startswith(b"cwl-userspace: the store"), words
        assert result.stderr.count(b"\n") == 1
    assert [p.name for p in command.store.iterdir()] == ["format"]


NOEXEC = """
for place in "$HOME" "$TMPDIR" "$CWL_USERSPACE_HOME"; do
    mkdir -p "$place"
    mount -t tmpfs -o noexec,nosuid,nodev none "$place"
done
"$PYTHON" -m cwl_userspace load -i "$1"
cat "$("$PYTHON" -m cwl_userspace inspect -p test:1)/f"
"$PYTHON" -m cwl_userspace rmi test:1 > /dev/null
ls -A "$CWL_USERSPACE_HOME/trees" "$CWL_USERSPACE_HOME/tmp" | grep -v : || true
"""


def test_no_program_needs_to_be_executed_from_home_or_store(
    command: Command, tmp_path: Path
) -> None:
    image = oci_directory(tmp_path / "image", [tars.layer(tars.file("f", b"x\n", 0o755))])
    command.environ["TMPDIR"] = str(tmp_path / "temporary")
    result = in_namespace(NOEXEC, image, command=command)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.split() == [b"Loaded", b"image:", b"test:1", b"x"]


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

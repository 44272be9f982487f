"""A store where it may be: disks that are full, read-only, noexec, or somebody else's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tars
from tests.command import Command, Result
from tests.containers import UNCOUNTED
from tests.images import NAME, oci_directory, plain

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


def in_namespace(script: str, *words: str | Path, command: Command) -> Result:
    """Run a script where it may mount file systems that nobody else sees."""
    return subprocess.run(
        ["unshare", "-Urm", "sh", "-eu", "-c", script, "sh", *map(str, words)],
        env={**command.environ, "PYTHON": sys.executable},
        capture_output=True,
        timeout=50,
        check=False,
    )


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


def test_a_limit_of_a_files_size_is_named_and_without_it_all_is_well(
    command: Command, tmp_path: Path
) -> None:
    """EFBIG, as some quotas say it (setrlimit(2), RLIMIT_FSIZE)."""
    image = oci_directory(
        tmp_path / "image", [tars.layer(tars.file("big", bytes(2 * MIB)))], tars.gzipped
    )
    words = ["prlimit", f"--fsize={MIB}", *command.words("load", "-i", image)]
    result = subprocess.run(words, env=command.environ, capture_output=True, timeout=50)
    said = command.assert_refused(result)
    assert "File too large; raise the limit" in said and str(command.store) in said
    assert command.accepts(image)["big"].content == bytes(2 * MIB)


# Where a quota is found to be used up: by a new file, and by a new name.
@pytest.mark.parametrize("call", ["mkdir,mkdirat", "rename,renameat,renameat2"])
def test_a_quota_that_is_used_up_is_named_and_leaves_nothing(
    command: Command, image: Path, call: str
) -> None:
    subprocess.run([sys.executable, "-c", PREPARE, command.store], check=True)
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:error=EDQUOT"]
    result = subprocess.run(
        [*words, *command.words("load", "-i", image)],
        env={**command.environ, **UNCOUNTED},
        capture_output=True,
        timeout=50,
    )
    said = command.assert_refused(result)
    assert said.startswith("cwl-userspace: no space left") and "quota" in said.lower()
    assert command.load(image).returncode == 0


PREPARE = """
import sys
from cwl_userspace.store.store import Store
Store(sys.argv[1]).prepare()
"""


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


@pytest.mark.parametrize("found", ["3\n", "one", "\xff", "1\n2\n"])
def test_a_store_of_another_format_is_left_alone(command: Command, image: Path, found: str) -> None:
    command.store.mkdir()
    (command.store / "format").write_bytes(found.encode("latin-1"))
    asked = ("images", f"inspect {NAME}", f"rmi {NAME}", f"run {NAME} true", "prune --force")
    for words in (["load", "-i", str(image)], *(line.split() for line in asked)):
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

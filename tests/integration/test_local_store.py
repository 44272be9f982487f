"""Runs from a copy of the image's tree on a local disk: made once, whole, or not used at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from cwl_userspace.localtree import local_tree
from cwl_userspace.store import records
from cwl_userspace.store.lease import lease
from cwl_userspace.store.store import Store
from tests.containers import Box, Home, Ran, manifest, shell_layer, waiting

FILES = 1500


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home of this test's own, for its store is damaged."""
    (tmp_path / "home").mkdir()
    home = Home(tmp_path / "home")
    home.environment["CWL_USERSPACE_LOCAL_STORE"] = str(tmp_path / "disk" / "local")
    home.add("busybox", shell_layer().file("closed", b"secret", 0).bytes())
    return home


def disk(home: Home) -> Path:
    """The store on the local disk."""
    return Path(home.environment["CWL_USERSPACE_LOCAL_STORE"]) / f"cwl-userspace-{os.geteuid()}"


def copies(home: Home) -> list[Path]:
    """The trees that are published there."""
    return sorted((disk(home) / "trees").glob("*/rootfs"))


def below(tree: Path) -> dict[str, object]:
    """Everything about a tree but where it is, and how much room a directory takes there."""
    found = {os.path.relpath(path, tree): facts for path, facts in manifest(tree).items()}
    return {p: f if (tree / p).is_file() else (*f[:3], *f[4:]) for p, f in found.items()}


def log(home: Home) -> str:
    """What was written to the log."""
    path = home.place / "state" / "cwl-userspace" / "log"
    return path.read_text() if path.exists() else ""


def test_a_run_needs_nothing_of_the_shared_tree_once_it_is_copied(box: Box) -> None:
    assert box.sh("cat /etc/group").out.startswith(b"root:")
    shared = box.home.tree("busybox")
    assert below(copies(box.home)[0]) == below(shared)
    shutil.move(shared, shared.with_name("away"))
    shared.mkdir()
    before = manifest(copies(box.home)[0])
    change = "echo x > /etc/group; rm -f /bin/busybox; mkdir /new; echo $((6 * 7))"
    assert box.sh(f"({change}) 2> /tmp/errors", "-u", "root").text == "42\n"
    assert manifest(copies(box.home)[0]) == before
    assert "not from a local disk" not in log(box.home)


def test_a_run_opens_nothing_in_the_shared_tree(home: Home, tmp_path: Path) -> None:
    run = ["--engine", "userns", "run", "busybox", "cat", "/etc/group"]
    assert home.call(*run).out.startswith(b"root:")
    trace = tmp_path / "trace"
    command = [*(b"strace", b"-f", b"-qq", b"-o", bytes(trace)), *home.command(*run)]
    done = subprocess.run(command, env=home.environment, capture_output=True, timeout=60)
    assert done.stdout.startswith(b"root:"), done
    shared = str(home.tree("busybox"))
    calls = [line for line in trace.read_text().splitlines() if shared in line]
    assert {line.split("(")[0].split()[-1] for line in calls} <= {"stat", "newfstatat", "lstat"}
    assert str(copies(home)[0]) in trace.read_text()


def test_without_the_setting_there_is_no_copy(box: Box) -> None:
    assert box.run("busybox", "true", environment={"CWL_USERSPACE_LOCAL_STORE": ""}).text == ""
    assert box.run("busybox", "true", environment={"CWL_USERSPACE_LOCAL_STORE": "$NONE"}).text == ""
    assert not disk(box.home).exists()


def test_many_runs_at_once_make_one_copy(home: Home) -> None:
    box = Box(home, "userns")
    started = [box.start("busybox", "cat", "/etc/group") for _ in range(8)]
    for process in started:
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out[:5]) == (0, b"root:")
    assert len(copies(home)) == 1
    assert list((disk(home) / "tmp").iterdir()) == []
    assert "not from a local disk" not in log(home)


def test_a_copy_that_is_killed_is_never_used(home: Home) -> None:
    layer = shell_layer().directory("many")
    for number in range(FILES):
        layer.file(f"many/{number}", b"x" * number)
    home.add("many", layer.bytes())
    box = Box(home, "userns")
    killed = 0
    for _ in range(3):
        process = box.start("many", "true")
        for _ in waiting(20):
            if process.poll() is not None or any(disk(home).glob("tmp/*/rootfs/many/*")):
                break
        process.kill()
        process.communicate()
        killed += not copies(home)
    assert killed, "the copy was too quick"
    assert box.sh("ls /many | wc -l", image="many").text == f"{FILES}\n"
    assert below(copies(home)[0]) == below(home.tree("many"))
    # What was killed has left nothing but what the next one has removed.
    for _ in waiting(20):
        if not list((disk(home) / "tmp").iterdir()):
            break
    assert list((disk(home) / "tmp").iterdir()) == []


def on_small_disk(home: Home, limit: str, engine: str) -> Ran:
    """Two runs, one after the other, with a local disk of a certain size."""
    script = """
        place=$CWL_USERSPACE_LOCAL_STORE; options=$1; shift
        mkdir -p "$place" && mount -t tmpfs -o "$options" none "$place" && "$@" && "$@"
        find "$place"/*/tmp -mindepth 1 >&2
    """
    words = home.command("--engine", engine, "run", "busybox", "cat", "/etc/group")
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", limit]
    done = subprocess.run([*unshare, *words], env=home.environment, capture_output=True, timeout=60)
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("limit", "engine"), [("size=200k", "proot"), ("size=64m,nr_inodes=30", "userns")]
)
def test_a_full_local_disk_is_said_in_the_log_and_the_shared_tree_is_taken(
    home: Home, limit: str, engine: str
) -> None:
    assert on_small_disk(home, limit, engine).text.count("root:x:0:") == 2
    said = [line for line in log(home).splitlines() if "not from a local disk" in line]
    assert len(said) == 2
    assert "no room for" in said[0] or "no space left" in said[0]
    assert "an earlier run said: " in said[1]  # not every run tries


@pytest.mark.parametrize("how", ["open", "link", "file"])
def test_a_directory_that_others_can_write_is_not_used(home: Home, how: str) -> None:
    place = disk(home)
    place.parent.mkdir(parents=True)
    if how == "file":
        place.touch()
    else:
        aside = place.with_name("aside")
        aside.mkdir(mode=0o700)
        place.symlink_to(aside) if how == "link" else aside.rename(place)
    place.chmod(0o777 if how == "open" else 0o700)
    assert home.call("run", "busybox", "cat", "/etc/group").out.startswith(b"root:")
    assert "is not a directory that only its user can write" in log(home)
    assert copies(home) == []


def test_a_tree_that_a_cleaner_may_have_been_at_is_not_used(home: Home) -> None:
    assert home.call("run", "busybox", "true").text == ""
    old = copies(home)[0].parent
    (old / "rootfs" / "etc" / "group").unlink()
    os.utime(old, (0, time.time() - 10 * 24 * 3600))
    assert home.call("run", "busybox", "cat", "/etc/group").out.startswith(b"root:")
    assert "older than nine days" in log(home)


def test_nobody_waits_for_ever_for_a_copy(home: Home, tmp_path: Path) -> None:
    shared = Store(home.environment["CWL_USERSPACE_HOME"])
    record = records.find(shared, "busybox")
    local = Store(str(disk(home)))
    os.makedirs(local.path, mode=0o700)
    local.prepare()
    said: list[str] = []
    with lease(local, f"tree-{record.chain.hex}"):
        directory = os.path.dirname(local.path)
        assert local_tree(shared, record, directory, said.append, 0.2) == str(home.tree("busybox"))
        assert "another process still copies it" in said[0]
    assert local_tree(shared, record, directory, said.append, 0.2) == local.tree(record.chain)

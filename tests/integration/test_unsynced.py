"""Trees are used before the disk has them, and never after a crash that may have emptied them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from cwl_userspace.store import unsynced
from cwl_userspace.store.inuse import RUN
from cwl_userspace.store.owner import Owner, private_name
from cwl_userspace.store.store import CONTENTS, MARK, Store
from tests.containers import Home, marks, oci_layout, settled, shell_layer, waiting
from tests.unsynced import ELSEWHERE, before_the_crash, empty, mark

pytestmark = pytest.mark.once

LAYER = shell_layer().file("data/answer", b"42\n").bytes()
ANSWER = ("run", "busybox", "cat", "/data/answer")
OLD = 3600.0


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home of this test's own, and a mirror that has its image."""
    (tmp_path / "home").mkdir()
    home = Home(tmp_path / "home")
    layout = oci_layout(tmp_path / "layout", "busybox:latest", LAYER, {})
    config = tmp_path / "config.yml"
    config.write_text(f'registries: {{docker.io: {{mirrors: ["oci:{layout}"]}}}}\n')
    home.environment["CWL_USERSPACE_CONFIG"] = str(config)
    return home


def store(home: Home) -> Path:
    return home.place / "store"


def pulled(home: Home) -> Path:
    """The directory of a tree that was fetched, and that the disk has."""
    assert home.call("pull", "busybox").code == 0
    assert settled(store(home))
    (tree,) = (store(home) / "trees").iterdir()
    return tree


def syncing(tree: Path) -> list[int]:
    """Who syncs a tree now."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(tree) in words and b"-c" in words:
            found.append(int(name))
    return found


def caught(home: Home) -> tuple[subprocess.Popen[bytes], Path, int]:
    """A pull that may go on, its tree, and the process that syncs it, which is stopped."""
    for _ in waiting(60):
        process = subprocess.Popen(
            home.command("pull", "-q", "busybox"),
            env=home.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while process.poll() is None or marks(store(home)):
            for path in marks(store(home)):
                pid = stopped(path)
                if path.is_symlink() and pid:
                    return process, path.parent, pid
                if pid:
                    os.kill(pid, signal.SIGCONT)
        process.communicate()
        assert home.call("prune", "--all", "--force").code == 0
    raise AssertionError("no process syncs")


def stopped(path: Path) -> int:
    """Stop the process that a mark names, if that is no pull, and has begun to sync; its id."""
    try:
        owner = Owner.parse(os.readlink(path))
        if owner and b"store.syncing" in Path(f"/proc/{owner.pid}/cmdline").read_bytes():
            os.kill(owner.pid, signal.SIGSTOP)
            if os.readlink(f"/proc/{owner.pid}/cwd") == "/":
                return owner.pid
            os.kill(owner.pid, signal.SIGCONT)
    except OSError:
        pass
    return 0


def opened(pid: int) -> set[str]:
    """What a process has open."""
    return {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}


def test_a_pull_and_a_run_do_not_wait_for_who_syncs_and_he_keeps_nothing_of_theirs(
    home: Home,
) -> None:
    process, tree, pid = caught(home)
    try:
        assert process.communicate(timeout=60)[0] == b"docker.io/library/busybox:latest\n"
        assert process.returncode == 0
        assert os.getsid(pid) not in (os.getsid(0), process.pid)
        assert home.call(*ANSWER).text == "42\n"
        assert syncing(tree) == [pid]  # and nobody else began to
        # Where it was stopped it may have had a module or a page of /proc open.
        own = (".py", ".pyc", ".so", f"/proc/{pid}/stat")
        held = {name for name in opened(pid) if not name.endswith(own)}
        assert held == {os.devnull, str(tree)}
    finally:
        os.kill(pid, signal.SIGCONT)
    assert settled(store(home))
    assert any(not syncing(tree) for _ in waiting(20))
    assert home.call("verify").code == 0


@pytest.mark.parametrize("said", ["", "failed", ELSEWHERE], ids=["boot", "failed", "host"])
def test_a_tree_that_a_crash_has_emptied_is_fetched_anew(home: Home, said: str) -> None:
    tree = pulled(home)
    (tree / "of the first").touch()
    mark(tree, said or before_the_crash(), OLD if said == ELSEWHERE else 0.0)
    empty(tree / "rootfs", "data/answer")
    assert home.call(*ANSWER).text == "42\n"
    assert not (tree / "of the first").exists()
    assert settled(store(home)) and not os.listdir(store(home) / "tmp")


def test_what_is_known_of_a_tree_may_be_lost_as_well(home: Home) -> None:
    for name in ("tree.json", "contents.zst"):
        tree = pulled(home)
        mark(tree, before_the_crash())
        empty(tree, name)
        assert home.call(*ANSWER).text == "42\n"
        assert settled(store(home)) and (tree / name).stat().st_size


@pytest.mark.parametrize("command", [ANSWER, ("verify",)], ids=["run", "verify"])
def test_a_tree_that_a_crash_has_left_whole_stays(home: Home, command: tuple[str, ...]) -> None:
    tree = pulled(home)
    place = tree.stat().st_ino
    mark(tree, before_the_crash())
    assert home.call("--offline", *command).code == 0
    assert tree.stat().st_ino == place and not marks(store(home))


def test_nothing_that_is_damaged_is_built_upon_or_run_offline(home: Home) -> None:
    tree = pulled(home)
    mark(tree, before_the_crash())
    empty(tree / "rootfs", "data/answer")
    del home.environment["CWL_USERSPACE_CONFIG"]  # and so its mirror
    said = home.call("--offline", *ANSWER)
    assert said.code == 125 and said.out == b"" and "busybox" in said.complaint
    assert os.listdir(store(home) / "trees") == []


def test_a_tree_of_this_boot_is_trusted_and_synced_by_the_next_if_nobody_does(home: Home) -> None:
    tree = pulled(home)
    place = tree.stat().st_ino
    me = Owner.me()
    mark(tree, str(Owner(me.pid, "1", me.space, me.boot, me.host)))
    assert home.call(*ANSWER).text == "42\n"
    assert settled(store(home)) and tree.stat().st_ino == place


def test_another_host_is_trusted_while_it_gives_signs_of_life(home: Home) -> None:
    tree = pulled(home)
    mark(tree, ELSEWHERE)
    empty(tree / "rootfs", "data/answer")  # nobody looks: what it wrote is what we read
    assert home.call(*ANSWER).text == ""
    assert os.readlink(tree / MARK) == ELSEWHERE


def test_a_damaged_tree_that_something_runs_in_is_left_and_not_used(home: Home) -> None:
    tree = pulled(home)
    mark(tree, before_the_crash())
    empty(tree / "rootfs", "data/answer")
    use = store(home) / "leases" / f"{RUN}-{tree.name}.{private_name()}"
    use.touch()
    said = home.call(*ANSWER).complaint
    assert "was damaged when the host that wrote it stopped, and is in use by process" in said
    use.unlink()
    assert home.call(*ANSWER).text == "42\n"


def test_a_site_store_is_compared_and_left_as_it_is(home: Home, tmp_path: Path) -> None:
    tree = pulled(home)
    mark(tree, before_the_crash())
    (tmp_path / "user").mkdir()
    user = Home(tmp_path / "user")
    user.environment["CWL_USERSPACE_CONFIG"] = home.environment["CWL_USERSPACE_CONFIG"]
    user.environment["CWL_USERSPACE_STORE_PATH"] = f":{store(home)}"
    assert user.call(*ANSWER).text == "42\n"
    assert not (store(user) / "trees").exists() and marks(store(home))
    empty(tree / "rootfs", "data/answer")
    assert user.call(*ANSWER).text == "42\n"
    assert len(os.listdir(store(user) / "trees")) == 1 and marks(store(home))


def test_a_tree_on_a_local_disk_is_unpacked_again(home: Home, tmp_path: Path) -> None:
    home.environment["CWL_USERSPACE_LOCAL_STORE"] = str(tmp_path / "disk")
    assert home.call(*ANSWER).text == "42\n"
    disk = tmp_path / "disk" / f"cwl-userspace-{os.geteuid()}"
    assert settled(disk)
    (tree,) = (disk / "trees").iterdir()
    mark(tree, before_the_crash())
    empty(tree / "rootfs", "data/answer")
    assert home.call("--offline", *ANSWER).text == "42\n"
    assert settled(disk) and os.listdir(disk / "trees") == [tree.name]


@pytest.mark.parametrize("torn", [b"", b'{"name": "docker.io/lib'], ids=["empty", "torn"])
@pytest.mark.parametrize("place", ["names", "images"])
def test_a_record_that_a_crash_has_emptied_is_not_there(
    home: Home, place: str, torn: bytes
) -> None:
    pulled(home)
    for record in (store(home) / place).iterdir():
        record.write_bytes(torn)
    (store(home) / "format").write_bytes(b"")
    assert home.call(*ANSWER).text == "42\n"
    for record in (store(home) / place).iterdir():
        assert json.loads(record.read_bytes())
    assert home.call("pull", "-q", "busybox").code == 0
    assert (store(home) / "format").read_text() == "2\n"


def test_who_removes_an_image_does_not_mind_that_it_is_being_synced(home: Home) -> None:
    process, tree, pid = caught(home)
    process.communicate(timeout=60)
    assert home.call("rmi", "busybox").code == 0
    os.kill(pid, signal.SIGCONT)
    assert any(not syncing(tree) for _ in waiting(60))
    assert os.listdir(store(home) / "trees") == [] == os.listdir(store(home) / "tmp")


def test_a_tree_that_could_not_be_compared_is_on_the_disk_before_it_is_seen(tmp_path: Path) -> None:
    place = Store(str(tmp_path / "store"))
    place.prepare()
    for name, recorded in (("a", True), ("b", False)):
        private = tmp_path / "store" / "tmp" / name
        (private / "rootfs").mkdir(parents=True)
        if recorded:
            (private / CONTENTS).touch()
        assert unsynced.publish(place, str(private), f"trees/{name}")
        assert bool(marks(tmp_path / "store")) == recorded
        for path in marks(tmp_path / "store"):
            path.unlink()

"""What is in use is known to those who remove, and what is being removed to those who would use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cwl_userspace.store.inuse import GONE, RUN, Use, note_use
from cwl_userspace.store.lease import lease
from cwl_userspace.store.owner import Owner
from cwl_userspace.store.remove import remove_tree
from cwl_userspace.store.store import Store
from cwl_userspace.store.users import BUILD, RUN_SILENCE, Busy, at_work, building, in_use, last_use

pytestmark = pytest.mark.once
CHAIN = "c" * 64
USE = """
import sys
from cwl_userspace.store.inuse import Use
assert Use(sys.argv[1], sys.argv[2]).begin()
print("begun", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "store"))
    made.prepare()
    os.makedirs(tree(made))
    return made


def tree(store: Store) -> str:
    return os.path.join(store.path, "trees", CHAIN, "rootfs")


def leases(store: Store) -> list[str]:
    return os.listdir(os.path.join(store.path, "leases"))


def elsewhere(store: Store, age: float = 0.0) -> Path:
    """The use of a tree on another node, whose last sign of life is so many seconds ago."""
    me = Owner.me()
    name = f"{RUN}-{CHAIN}.abcd.{me.pid}.{me.start}.1.{me.boot}.node-9"
    path = Path(store.path, "leases", name)
    path.touch()
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    return path


def test_a_tree_is_in_use_from_beginning_to_end(store: Store) -> None:
    use, second = Use(tree(store), CHAIN), Use(tree(store), CHAIN)
    assert use.begin() and second.begin()
    (users,) = in_use(store).values()
    assert [owner.pid for owner in users] == [os.getpid()] * 2
    assert [owner.pid for owner in remove_tree(store, CHAIN)] == [os.getpid()] * 2
    use.end()
    use.end()
    assert list(in_use(store)) == [CHAIN]
    second.end()
    assert in_use(store) == {} and leases(store) == []
    assert remove_tree(store, CHAIN) == [] and os.listdir(os.path.join(store.path, "trees")) == []
    assert not use.begin() and leases(store) == []


def test_a_user_who_was_killed_uses_nothing(store: Store) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", USE, tree(store), CHAIN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout and process.stdout.readline() == b"begun\n"
        assert [owner.pid for owner in in_use(store)[CHAIN]] == [process.pid]
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(leases(store)) == 1 and in_use(store) == {}


def test_a_user_elsewhere_is_believed_while_he_gives_signs_of_life(store: Store) -> None:
    elsewhere(store)
    assert [owner.host for owner in in_use(store)[CHAIN]] == ["node-9"]
    assert remove_tree(store, CHAIN) and os.path.isdir(tree(store))
    elsewhere(store, RUN_SILENCE + 60)
    assert in_use(store) == {}
    assert remove_tree(store, CHAIN) == [] and not os.path.isdir(tree(store))


def test_who_would_use_what_is_being_removed_waits_and_finds_it_gone(store: Store) -> None:
    begun: list[bool] = []
    thread = threading.Thread(target=lambda: begun.append(Use(tree(store), CHAIN).begin()))
    with lease(store, f"{GONE}-{CHAIN}") as held:
        assert held
        thread.start()
        while not in_use(store):
            pass
        assert begun == []
        os.rename(os.path.dirname(tree(store)), os.path.join(store.path, "tmp", "aside"))
    thread.join(60)
    assert begun == [False] and leases(store) == []


def test_who_removes_by_force_does_it_nevertheless(store: Store) -> None:
    use = Use(tree(store), CHAIN)
    assert use.begin()
    assert remove_tree(store, CHAIN, force=True) and not os.path.isdir(tree(store))
    use.end()


def test_a_store_without_a_place_for_leases_is_used_all_the_same(store: Store) -> None:
    os.rmdir(os.path.join(store.path, "leases"))
    use = Use(tree(store), CHAIN)
    assert use.begin() and list(in_use(store)) == [CHAIN]
    use.end()
    os.rmdir(os.path.join(store.path, "leases"))
    Path(store.path, "leases").touch()  # as where nothing can be written
    assert use.begin() and in_use(store) == {}
    use.end()


def test_signs_of_life_are_given_when_they_are_due(store: Store) -> None:
    use = Use(tree(store), CHAIN)
    assert use.begin()
    (name,) = leases(store)
    path = os.path.join(store.path, "leases", name)
    os.utime(path, (1, 1))
    use.look()
    assert os.stat(path).st_mtime == 1 and 0 < use.wait() <= 60
    use._next = 0.0
    use.look()
    assert os.stat(path).st_mtime > 1
    use.end()


def test_who_is_at_work_is_known(store: Store) -> None:
    with Busy(store, BUILD):
        assert [owner.pid for owner in building(store)] == [os.getpid()]
        assert len(at_work(store)) == 1 and in_use(store) == {}
    assert at_work(store) == [] and leases(store) == []


def test_the_last_use_of_an_image_is_noted_to_the_hour(store: Store) -> None:
    path = Path(store.path, "images", f"{CHAIN}.json")
    assert last_use(store, CHAIN) == 0
    note_use(store, CHAIN)
    path.touch()
    recent = path.stat().st_mtime - 60
    os.utime(path, (recent, recent))
    note_use(store, CHAIN)
    assert last_use(store, CHAIN) == recent
    os.utime(path, (1, 1))
    note_use(store, CHAIN)
    assert last_use(store, CHAIN) > recent

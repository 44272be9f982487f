"""Leases: one works, others wait while he lives and no longer, wherever he is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cwl_userspace.store.lease import _Candidate, _identity, lease
from cwl_userspace.store.owner import Owner, owner_of, private_name
from cwl_userspace.store.store import Store

pytestmark = pytest.mark.once
# A beat so slow that nobody is ever taken for dead for want of one.
NEVER = 1000.0

HOLD = """
import sys, time
from cwl_userspace.store.lease import lease
from cwl_userspace.store.store import Store
with lease(Store(sys.argv[1]), "x", beat=float(sys.argv[2])) as held:
    print(held, flush=True)
    sys.stdin.read()
"""
CROWD = """
import os, sys
from cwl_userspace.store.lease import lease
from cwl_userspace.store.store import Store
store = Store(sys.argv[1])
for _ in range(5):
    with lease(store, "x", beat=1000.0) as held:
        assert held
        os.mkdir(store.path + "/inside")
        os.rmdir(store.path + "/inside")
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "store"))
    made.prepare()
    return made


@contextmanager
def holder(store: Store, beat: float = NEVER) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease until its standard input closes."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, store.path, str(beat)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout and process.stdout.readline() == "True\n"
        yield process
        process.kill()


def leases(store: Store) -> list[str]:
    return os.listdir(os.path.join(store.path, "leases"))


def elsewhere(store: Store, beat: float) -> Path:
    """A lease whose holder is of another name space of process ids."""
    me = Owner.me()
    path = Path(store.path, "leases", "x")
    path.write_text(f"{beat} 0123.{me.pid}.{me.start}.1.{me.boot}.node-9\n")
    return path


def test_a_lease_is_held_by_one_and_given_back(store: Store) -> None:
    with lease(store, "x") as first, lease(store, "x", patience=0.1) as second:
        assert (first, second) == (True, False)
    with lease(store, "x") as again, lease(store, "y") as other:
        assert again and other
    assert leases(store) == []


def test_who_waits_has_it_when_the_other_has_given_it_back(store: Store) -> None:
    with holder(store) as process:
        with lease(store, "x", patience=0.1) as held:
            assert not held
        assert process.stdin
        process.stdin.close()
        with lease(store, "x", patience=60) as held:
            assert held
    assert leases(store) == []


def test_a_killed_holder_is_seen_at_once(store: Store) -> None:
    with holder(store) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with lease(store, "x", patience=60) as held:
            assert held
    assert leases(store) == []


def test_a_process_id_that_was_given_away_again_is_another_process(store: Store) -> None:
    me = Owner.me()
    text = f"{NEVER} 0123.{me.pid}.1.{me.space}.{me.boot}.{me.host}\n"
    Path(store.path, "leases", "x").write_text(text)
    with lease(store, "x", patience=60) as held:
        assert held


@pytest.mark.parametrize("content", ["", "nonsense", "1000 ab.1.2.3", "\xff"])
def test_a_lease_that_names_nobody_lives_as_long_as_it_is_touched(
    store: Store, content: str
) -> None:
    path = Path(store.path, "leases", "x")
    path.write_bytes(content.encode("latin-1"))
    with lease(store, "x", patience=0.1) as held:
        assert not held
    os.utime(path, (1, 1))
    with lease(store, "x", patience=60) as held:
        assert held


def test_a_holder_elsewhere_lives_as_long_as_he_gives_signs_of_life(store: Store) -> None:
    path = elsewhere(store, 0.5)
    stopped = threading.Event()

    def live() -> None:
        while not stopped.wait(0.02):
            os.utime(path)

    thread = threading.Thread(target=live)
    thread.start()
    with lease(store, "x", patience=4) as held:
        assert not held
    stopped.set()
    thread.join()
    with lease(store, "x", patience=60) as held:
        assert held
    assert leases(store) == []


def test_no_clock_of_a_node_is_asked(store: Store) -> None:
    """What is in the future by our clock is dead all the same once it stands still."""
    path = elsewhere(store, 0.05)
    os.utime(path, (4e9, 4e9))
    with lease(store, "x", patience=0.5) as held:
        assert not held  # it is newer than what the file system has just written
    elsewhere(store, 0.05)
    with lease(store, "x", patience=60) as held:
        assert held


def test_a_holder_who_gives_signs_of_life_keeps_it(store: Store) -> None:
    with holder(store, beat=0.02) as process:
        os.kill(process.pid, 0)
        me = Owner.me()
        path = Path(store.path, "leases", "x")
        owner = owner_of(path.read_text().split()[1])
        assert owner is not None and (owner.pid, owner.space) == (process.pid, me.space)
        before = path.stat().st_mtime_ns
        for _ in range(1000):
            if path.stat().st_mtime_ns > before:
                break
            threading.Event().wait(0.02)
        assert path.stat().st_mtime_ns > before


def test_a_crowd_takes_a_dead_ones_lease_over_one_by_one(store: Store) -> None:
    with holder(store) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert leases(store) == ["x"]
    words = [sys.executable, "-c", CROWD, store.path]
    crowd = [subprocess.Popen(words, stderr=subprocess.PIPE) for _ in range(6)]
    for one in crowd:
        _, err = one.communicate(timeout=60)
        assert one.returncode == 0, err
    assert leases(store) == []


def test_a_lease_that_a_quicker_one_has_taken_over_is_put_back(store: Store) -> None:
    """Of two who see a dead holder the slower renames what is the quicker one's by then."""
    place = os.path.join(store.path, "leases", "x")
    slower = _Candidate(os.path.dirname(place), "x", NEVER)
    with holder(store) as process:
        dead = _identity(place)
        assert dead is not None
        process.kill()
    with lease(store, "x", beat=NEVER) as held:
        mine = _identity(place)
        assert held and mine != dead
        slower._bury(dead)
        assert _identity(place) == mine
        slower.close()
        assert _identity(place) == mine
    assert leases(store) == []


def test_where_nothing_can_be_written_the_work_goes_on(tmp_path: Path) -> None:
    with lease(Store(str(tmp_path / "none")), "x") as held:
        assert held


def test_no_thread_is_left_of_a_lease(store: Store) -> None:
    """A run may follow, and only a process of one thread can enter a user name space."""
    before = threading.active_count()
    with lease(store, "x"):
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_an_owner_is_what_his_text_says() -> None:
    me = Owner.me()
    again = Owner.parse(str(me))
    assert again is not None and str(again) == str(me) and again.is_dead() is False
    named = owner_of(private_name())
    assert named is not None and str(named) == str(me)
    for text in ("", "1.2.3", "x.1.2.3.host", "1..2.3.host", "something"):
        assert Owner.parse(text) is None
    other = Owner(me.pid, me.start, me.space, "0", me.host)
    assert other.is_dead() is None

"""Cgroups: which part of the tree is ours, and what is written to it.

A tree of files stands in for one whose controllers this kernel may have given away; where cgroup
v2 is mounted and ours, a real one is made too. tests/integration/test_cgroups.py has both.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cwl_userspace import cgroups
from cwl_userspace.cgroups import Cgroup, NotDelegated, NotOurs, find_parent
from cwl_userspace.scope import enter, user_manager
from tests.unit.forked import in_child, reachable

WANTED = {"memory", "cpu"}


def cgroup(path: Path, controllers: str, enabled: str, procs: str = "1\n") -> Path:
    """The files of a cgroup that matter here."""
    path.mkdir(exist_ok=True)
    (path / "cgroup.controllers").write_text(controllers)
    (path / "cgroup.subtree_control").write_text(enabled)
    (path / "cgroup.procs").write_text(procs)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root, a slice of the user's and the session that we are in, with other processes."""
    top = cgroup(tmp_path / "cgroup", "cpu io memory pids", "cpu memory pids")
    above = cgroup(top / "slice", "cpu memory pids", "memory cpu")
    cgroup(above / "session", "memory cpu", "")
    return top


def test_the_nearest_cgroup_that_gives_what_is_wanted_is_taken(tree: Path) -> None:
    found, controllers = find_parent(str(tree), str(tree / "slice" / "session"), WANTED)
    assert (found, controllers) == (str(tree / "slice"), WANTED)


def test_a_higher_one_that_gives_more_is_better(tree: Path) -> None:
    (tree / "slice" / "cgroup.subtree_control").write_text("memory")
    (tree / "slice" / "cgroup.controllers").write_text("memory")
    place = str(tree / "slice" / "session")
    assert find_parent(str(tree), place, WANTED) == (str(tree), WANTED)
    assert find_parent(str(tree), place, {"memory"}) == (str(tree / "slice"), {"memory"})


def test_a_cgroup_of_threads_is_passed_over(tree: Path) -> None:
    (tree / "slice" / "cgroup.type").write_text("domain threaded\n")
    place = str(tree / "slice" / "session")
    assert find_parent(str(tree), place, WANTED) == (str(tree), WANTED)


def test_what_is_not_ours_is_named(tree: Path, tmp_path: Path) -> None:
    reachable(tmp_path)
    for directory in (tree, tree / "slice", tree / "slice" / "session"):
        directory.chmod(0o755)
        if os.getuid() != 0:
            directory.chmod(0o555)

    def search() -> str:
        try:
            return find_parent(str(tree), str(tree / "slice" / "session"), WANTED)[0]
        except NotOurs as reason:
            return str(reason)

    said = in_child(search, plain_user=True)
    for directory in (tree, tree / "slice", tree / "slice" / "session"):
        directory.chmod(0o755)
    assert said == "the cgroup /slice/session and those above it are not ours to change"


def test_controllers_that_belong_to_cgroup_v1_are_told(tree: Path) -> None:
    (tree / "cgroup.controllers").write_text("pids")
    with pytest.raises(NotDelegated, match="given cpu and memory to cgroup v1"):
        find_parent(str(tree), str(tree / "slice" / "session"), WANTED)


def test_no_cgroup_v2_is_told() -> None:
    with pytest.raises(NotDelegated, match="no cgroup v2 is mounted"):
        cgroups.own_place("")


def test_limits_are_written_as_the_kernel_reads_them(tree: Path) -> None:
    group = Cgroup(str(tree), WANTED)
    for name in ("memory.max", "memory.oom.group", "cpu.max"):
        (Path(group.path) / name).write_text("")
    group.limit_memory(123 << 20)  # memory.swap.max is not there on a host without swap
    group.limit_cpus(1.5)
    written = [(Path(group.path) / n).read_text() for n in ("memory.max", "memory.oom.group")]
    assert written == [str(123 << 20), "1"]
    assert (Path(group.path) / "cpu.max").read_text() == "150000 100000"


def test_what_the_kernel_did_is_read(tree: Path) -> None:
    group = Cgroup(str(tree), WANTED)
    assert (group.oom_kills(), group.peak()) == (0, 0)
    (Path(group.path) / "memory.events").write_text("low 0\nmax 7\noom 2\noom_kill 3\n")
    (Path(group.path) / "memory.peak").write_text("4096\n")
    assert (group.oom_kills(), group.peak()) == (3, 4096)


def test_what_a_killed_run_has_left_is_removed_and_a_running_ones_not(tree: Path) -> None:
    for name in ("cwl-userspace-99999999-dead", f"cwl-userspace-{os.getpid()}-alive", "other"):
        (tree / name).mkdir()
    group = Cgroup(str(tree), WANTED)
    kept = {path.name for path in tree.iterdir() if path.is_dir()}
    assert kept == {
        "slice",
        "other",
        f"cwl-userspace-{os.getpid()}-alive",
        os.path.basename(group.path),
    }


def test_a_real_cgroup_holds_a_tree_and_is_removed_with_it() -> None:
    mount = cgroups.mount_point()
    place = cgroups.own_place(mount) if mount else ""
    if not mount or not os.access(f"{place}/cgroup.procs", os.W_OK):
        # Nothing of it is ours, and so nobody is told that it is.
        with pytest.raises(NotDelegated):
            find_parent(mount, cgroups.own_place(mount), WANTED)
        return
    group = Cgroup(place, ())
    entrance = group.entrance()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(entrance, b"0")
        for _ in range(2):  # a daemon: its parent ends at once
            if os.fork():
                os._exit(0)
            os.setsid()
        os.write(writer, b"ready")
        time.sleep(60)
        os._exit(0)
    os.close(entrance)
    os.waitpid(child, 0)
    assert os.read(reader, 5) == b"ready"
    members = Path(group.path, "cgroup.procs")
    while len(members.read_text().split()) > 1:
        time.sleep(0.01)
    daemon = int(members.read_text())
    group.remove()
    assert not os.path.exists(group.path)
    state = Path(f"/proc/{daemon}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_user_without_a_systemd_is_told_so(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "PATH": os.environ["PATH"]}
    assert "no systemd of the user runs" in user_manager(environ)


def test_a_bus_where_nobody_answers_is_given_up(tmp_path: Path) -> None:
    import socket

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "bus"))
    listener.listen()
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "private").touch()
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "PATH": os.environ["PATH"]}
    start = time.monotonic()
    assert not enter(environ, patience=0.5)
    assert time.monotonic() - start < 10
    listener.close()

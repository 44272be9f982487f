"""What proot sees and writes on the host: what was asked for, and one private directory."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from cwl_userspace.lineage import descendants
from tests.containers import Box, Home, Word, waiting


@pytest.fixture
def box(home: Home) -> Box:
    return Box(home, "proot")


def launch_of(box: Box, *words: Word) -> tuple[dict[str, object], str, list[str]]:
    """What ``--print-command`` shows: the launch, the run's directory and proot's own words."""
    shown = shlex.split(box.run("--print-command", *words).text)
    at = next(i for i, word in enumerate(shown) if word.startswith("{"))
    return json.loads(shown[at]), shown[at + 1], shown[at + 3 :]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_colons_in_sources_and_targets_are_no_separators(
    box: Box, tmp_path: Path, kind: str
) -> None:
    source = tmp_path / "with:two:colons"
    source.mkdir()
    (source / "a:b").write_text("seen\n")
    if kind == "file":
        option = f"type=bind,source={source}/a:b,target=/data/t:o:p,readonly"
        assert box.sh("cat /data/t:o:p", f"--mount={option}").text == "seen\n"
    else:
        option = f"type=bind,source={source},target=/data/d:e"
        script = "cat /data/d:e/a:b; echo new > /data/d:e/x:y; pwd"
        assert box.sh(script, f"--mount={option}", "-w", "/data/d:e").text == "seen\n/data/d:e\n"
        assert (source / "x:y").read_text() == "new\n"


def test_every_bind_was_asked_for_or_is_the_runs_own(box: Box, tmp_path: Path) -> None:
    words: list[Word] = ["-v", f"{tmp_path}:/in", "busybox", "true"]
    launch, private, argv = launch_of(box, *words)
    tree = str(box.home.tree("busybox"))
    binds = [argv[i + 1].partition(":")[0] for i, word in enumerate(argv) if word == "-b"]
    assert argv[0].startswith("/") and "-R" not in argv and "-S" not in argv
    own = [b for b in binds if not b.startswith((private, tree, "/dev/"))]
    assert sorted(own) == sorted(["/proc", str(tmp_path)])
    assert str(box.home.place / "home") not in binds
    environment = launch["environment"]
    assert isinstance(environment, dict)
    assert {*environment} <= {"PROOT_TMP_DIR", "PROOT_LOADER", "PROOT_NO_SECCOMP"}
    for name in ("PROOT_TMP_DIR", "PROOT_LOADER"):
        assert environment[name].startswith(f"{private}/")


def test_no_root_is_emulated_where_none_is_asked_for(box: Box) -> None:
    def emulating(*words: Word) -> bool:
        _, _, argv = launch_of(box, *words, "busybox", "true")
        return bool({"-0", "-i"} & {*argv})

    assert not emulating()
    assert not emulating("-u", f"{os.geteuid()}:{os.getegid()}")
    assert emulating("-u", "1234:2345")
    assert emulating("-u", "root") or os.geteuid() == 0


def test_nothing_is_left_or_made_in_tmp(box: Box, tmp_path: Path) -> None:
    """Without a loader of its own 5.1 writes one to /tmp; without TMPDIR newer ones do."""
    before = set(os.listdir("/tmp"))
    process = box.start_sh("echo ready; read line", "-i", stdin=subprocess.PIPE, cwd=tmp_path)
    assert process.stdin is not None
    made = {name for name in os.listdir("/tmp") if name.startswith(("proot-", "prooted-"))}
    ours = {n for n in made - before if os.lstat(f"/tmp/{n}").st_uid == os.geteuid()}
    maps = {
        line.split()[-1]
        for pid in descendants(process.pid)
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
        if line.endswith("/proot/loader")
    }
    process.stdin.close()
    process.wait(10)
    assert ours == set() and list(tmp_path.iterdir()) == []
    assert all(path.startswith(str(box.home.place)) for path in maps)


def test_tracer_and_traced_share_the_one_processor_that_a_job_asks_for(box: Box) -> None:
    process = box.start_sh("echo ready; exec sleep 1000", "--cpus", "1")
    allowed: dict[int, set[int]] = {}
    for _ in waiting(10):
        allowed = {
            pid: os.sched_getaffinity(pid)
            for pid in descendants(process.pid)
            if Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .split(b"\0")[0]
            .endswith((b"proot", b"sleep"))
        }
        if len(allowed) == 2:
            break
    process.kill()
    process.wait(10)
    assert len(allowed) == 2
    assert all(len(numbers) == 1 for numbers in allowed.values()), allowed
    assert len({frozenset(numbers) for numbers in allowed.values()}) == 1

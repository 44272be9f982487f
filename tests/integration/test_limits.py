"""Limits of memory, processors and time: for all of a container's processes, however they hide."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cwl_userspace.cgroups import mount_point
from cwl_userspace.memory import below
from tests.containers import Box, Home, all_gone, marker

# A shell whose variable grows to so many bytes, without a system call more than that takes, and
# which then waits with it.
GROW = "grow() { a=0123456789abcdef; while [ ${#a} -lt $1 ]; do a=$a$a; done; sleep $2; : $a; }; "
KILLED = 128 + signal.SIGKILL


def killed_for_memory(box: Box, script: str, *options: str) -> None:
    """A run that is killed, told of in a line, and leaves nothing alive."""
    word = marker()
    start = time.monotonic()
    ran = box.sh(
        f"export MARKER={word}; {GROW}{script}; sleep 30; : {word}", "--memory=100m", *options
    )
    assert ran.code == KILLED, ran
    assert "--memory 100.0 MiB" in ran.complaint and "killed" in ran.complaint
    assert time.monotonic() - start < 28
    assert all_gone(word, 2)


@pytest.mark.every_engine
def test_a_shell_that_grows_is_killed(box: Box) -> None:
    killed_for_memory(box, 'a=0123456789abcdef; while :; do a="$a$a"; done')


def test_processes_that_are_each_small_count_together(box: Box) -> None:
    killed_for_memory(box, "for i in 1 2 3 4 5 6; do grow 30000000 30 & done; wait")


@pytest.mark.parametrize("user", [[], ["-u", "root"]])
def test_a_process_that_leaves_its_session_and_its_parent_counts(box: Box, user: list[str]) -> None:
    killed_for_memory(box, f"(setsid sh -c '{GROW}grow 120000000 30' &) ; sleep 30", *user)


def test_files_in_shared_memory_count(box: Box) -> None:
    fill = "dd if=/dev/zero of=/dev/shm/file bs=1M count=150 2>/dev/null"
    # Without namespaces it is a directory of the host's; this one is in memory.
    environment = {"TMPDIR": "/dev/shm"}
    word = marker()
    ran = box.sh(f"{fill}; sleep 30; : {word}", "-m100m", "--shm-size=1g", environment=environment)
    assert ran.code == KILLED and "100.0 MiB" in ran.complaint, ran
    assert all_gone(word, 2)


def test_what_is_written_to_a_root_in_memory_counts(home: Home) -> None:
    box = Box(home, "userns")
    ran = box.sh("dd if=/dev/zero of=/var/file bs=1M count=150 2>/dev/null; sleep 30", "-m100m")
    assert ran.code == KILLED and "100.0 MiB" in ran.complaint, ran


def test_what_covers_a_place_in_memory_does_not_count(box: Box, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(150 << 20))
    assert box.sh("sleep 1.5; echo fine", "-m100m", "-v", f"{tmp_path}:/dev/shm").text == "fine\n"


def test_what_is_below_the_limit_is_left_alone(box: Box, tmp_path: Path) -> None:
    fill = "dd if=/dev/zero of=/out/large bs=1M count=200 2>/dev/null; cat /out/large | wc -c"
    options = ["-m100m", "-v", f"{tmp_path}:/out"]
    # Nearly all of the 16 MB in each of these shells is shared since the fork, and stays so: to
    # ask for the variable's length would copy it. What is in files on a disk does not count.
    script = f"{GROW}grow 16000000 0; for i in 1 2 3 4 5 6 7 8; do (sleep 3; :) & done; wait"
    script = f"{script}; {fill}"
    assert box.sh(script, *options).text == f"{200 << 20}\n"


def test_a_limit_that_held_leaves_its_peak_in_the_log(box: Box) -> None:
    log = box.home.place / "state" / "cwl-userspace" / "log"
    script = f"{GROW}grow 30000000 1.5; echo ${{#a}}"
    assert box.sh(script, "-m200m").text == "33554432\n"
    last = [line for line in log.read_text().splitlines() if "all processes" in line][-1]
    assert 30 < float(last.rpartition(": ")[2].removesuffix(" MiB")) < 130, last


def test_a_run_without_limits_notes_its_largest_process(box: Box) -> None:
    log = box.home.place / "state" / "cwl-userspace" / "log"
    assert box.sh(f"{GROW}grow 60000000 0; echo ${{#a}}").text == "67108864\n"
    sizes = [
        float(line.rpartition(": ")[2].removesuffix(" MiB"))
        for line in log.read_text().splitlines()
        if "the largest process" in line
    ]
    assert max(sizes) > 57


@pytest.mark.every_engine
def test_the_time_is_of_the_program_and_ends_all_of_it(box: Box) -> None:
    word = marker()
    start = time.monotonic()
    ran = box.sh(f"export MARKER={word}; (setsid sleep 1000 &) ; exec sleep 1000", "--timeout=1.5")
    assert (ran.code, ran.out) == (124, b"")
    assert "--timeout 1.5 s" in ran.complaint
    assert 1.4 < time.monotonic() - start < 9
    assert all_gone(word, 2)


def test_the_program_may_tidy_up_when_its_time_is_over(box: Box) -> None:
    script = "trap 'echo tidied; exit 0' TERM; while :; do sleep 0.1; done"
    ran = box.sh(script, "--timeout=1")
    assert (ran.code, ran.out) == (124, b"tidied\n")


def test_a_program_that_does_not_heed_the_end_of_its_time_is_killed(box: Box) -> None:
    word = marker()
    start = time.monotonic()
    ran = box.sh(
        f"export MARKER={word}; trap '' TERM; while :; do sleep 0.2; done",
        "--timeout=1",
        "--stop-timeout=2",
    )
    assert ran.code == 124
    assert 2.5 < time.monotonic() - start < 10
    assert all_gone(word, 2)


def test_a_program_that_ends_in_time_is_not_concerned(box: Box) -> None:
    assert box.sh("exit 3", "--timeout=60", "--memory=1g", "--cpus=1") == (3, b"", b"")


def test_as_many_processors_as_asked_for_are_to_be_seen(box: Box) -> None:
    assert box.sh("nproc", "--cpus=1").text == "1\n"
    everything = f"{len(os.sched_getaffinity(0))}\n"
    assert box.sh("nproc", "--cpus=1000").text == everything
    assert box.sh("nproc").text == everything


def test_the_processors_asked_for_are_the_ones_and_children_stay_there(box: Box) -> None:
    last = max(os.sched_getaffinity(0))
    script = "(setsid sh -c 'grep Cpus_allowed_list /proc/self/status') | cat"
    shown = box.sh(script, f"--cpuset-cpus={last}").text
    assert shown.split() == ["Cpus_allowed_list:", str(last)]


def test_a_processor_that_is_not_there_is_named(box: Box) -> None:
    ran = box.sh("echo never", "--cpuset-cpus=0,4711")
    assert (ran.code, ran.out) == (125, b"")
    assert "processor 4711" in ran.complaint and "--cpuset-cpus" in ran.complaint


def test_containers_that_run_together_are_spread_over_the_processors(box: Box) -> None:
    processors = len(os.sched_getaffinity(0))
    # Containers of other tests, which run meanwhile, count as well.
    assert any(len(places_of_some(box, processors)) == processors for _ in range(6))


def places_of_some(box: Box, number: int) -> set[bytes]:
    """The processors of so many containers that run at once."""
    script = "echo ready; grep Cpus_allowed_list /proc/self/status; sleep 1000"
    running = [box.start_sh(script, "--cpus=1") for _ in range(number)]
    places = set()
    for process in running:
        assert process.stdout is not None
        places.add(process.stdout.readline().split()[1])
    for process in running:
        process.kill()
        process.wait(10)
    return places


def test_the_tracer_is_where_its_program_is(home: Home) -> None:
    word = marker()
    process = Box(home, "proot").start_sh(
        f"export MARKER={word}; echo ready; sleep 1000; : {word}", "--cpus=1"
    )
    pids = below(process.pid)
    seen = {frozenset(os.sched_getaffinity(pid)) for pid in pids}
    commands = [Path(f"/proc/{pid}/comm").read_text() for pid in pids]
    process.kill()
    assert "proot\n" in commands and len(seen) == 1 and len(seen.pop()) == 1
    assert all_gone(word)


def test_a_part_of_a_processor_is_held_as_a_whole_one_and_told(box: Box) -> None:
    log = box.home.place / "state" / "cwl-userspace" / "log"
    assert box.sh("nproc", "--cpus=0.5").text == "1\n"
    told = "--cpus 0.5 is held as 1 processor" in log.read_text()
    assert told or mount_point() == "/sys/fs/cgroup"


def test_stats_show_the_limit_and_what_is_used_of_it(box: Box) -> None:
    name = f"stats-{box.engine}"
    script = f"{GROW}grow 30000000 0; echo ready; sleep 1000; : $a"
    process = box.start_sh(script, "-m", "200m", "--name", name)
    shown = box.home.call("stats", "--no-stream", "--format", "{{.MemUsage}} {{.MemPerc}}", name)
    used, slash, limit, share = shown.text.split()
    assert (slash, limit) == ("/", "200.0MiB")
    assert 30 < float(used.removesuffix("MiB")) < 130
    assert 15 < float(share.removesuffix("%")) < 65
    assert box.home.call("kill", name).code == 0
    assert process.wait(8) == KILLED


def test_doctor_says_how_limits_are_held(home: Home) -> None:
    shown = home.call("doctor", "--offline", "--quick").text
    lines = shown.partition("\nlimits\n")[2].splitlines()
    assert [line.split(":")[0].strip() for line in lines[:4]] == [
        "cgroup v2",
        "memory",
        "cpus",
        "time",
    ]


def test_a_limit_holds_while_a_terminal_is_flooded(box: Box) -> None:
    controller, terminal = os.openpty()
    process = box.start("-t", "--timeout=2", "busybox", "yes", stdin=terminal, stdout=terminal)
    os.close(terminal)
    try:
        # Nobody reads, so nothing can be printed.
        assert process.wait(25) == 124
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    finally:
        os.close(controller)

"""The life of a container: it ends with its run, in every way in which that can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.containers import PATIENCE, Box, Home, Word, all_gone, marker, waiting, with_marker

# Engines in which the host's processes can be seen.
HOSTS_PROCESSES = ("proot", "charliecloud")


def tree(word: str, main: str) -> str:
    """A tool with a child, a daemon and an orphan that heeds no signal, each with the word."""
    script = "export MARKER={0}; sh -c 'exec sleep 1000' {0} & "
    script += "setsid sh -c 'while :; do sleep 1; done' {0} & "
    script += "(setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1; done' {0} &) ; "
    return script.format(word) + f"sleep 0.2; echo ready; {main} # {word}"


@pytest.mark.every_engine
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_run_ends_the_whole_tree(box: Box, number: signal.Signals) -> None:
    word = marker()
    process = box.start_sh(tree(word, "exec sleep 1000"))
    assert len(with_marker(word)) >= 4
    process.send_signal(number)
    assert process.wait(8) == 128 + number
    assert all_gone(word, 2)


def test_the_tool_may_handle_the_signal_but_has_not_succeeded(box: Box) -> None:
    script = "trap 'echo handled; exit {}' TERM; echo ready; while :; do sleep 0.1; done"
    for status, code in ((0, 128 + signal.SIGTERM), (9, 9)):
        process = box.start_sh(script.format(status))
        process.terminate()
        assert process.wait(8) == code
        assert process.stdout is not None and process.stdout.read() == b"handled\n"


def test_a_tool_that_does_not_heed_the_signal_is_killed_after_the_grace(box: Box) -> None:
    killed_after_the_grace(box, "trap '' TERM; while :; do sleep 0.2; done")


def test_a_stopped_tool_is_killed_after_the_grace(home: Home) -> None:
    # proot has its programs go on whenever they are stopped.
    killed_after_the_grace(Box(home, "userns"), "kill -STOP $$")


def killed_after_the_grace(box: Box, main: str) -> None:
    word = marker()
    process = box.start_sh(tree(word, main), "--stop-timeout=2")
    time.sleep(0.5)
    start = time.monotonic()
    process.terminate()
    assert process.wait(20) == 128 + signal.SIGKILL
    assert 1.5 < time.monotonic() - start < 9
    assert all_gone(word, 2)


def test_a_tool_has_all_the_time_it_takes_where_no_grace_ends(box: Box, tmp_path: Path) -> None:
    script = "trap 'echo asked; until [ -e /w/go ]; do sleep 0.1; done; exit 9' TERM; echo ready; "
    process = box.start_sh(
        f"{script} while :; do sleep 0.1; done", "--stop-timeout=-1", "-v", f"{tmp_path}:/w"
    )
    process.terminate()
    assert process.stdout is not None and process.stdout.readline() == b"asked\n"
    (tmp_path / "go").touch()
    assert process.wait(PATIENCE) == 9


@pytest.mark.every_engine
@pytest.mark.parametrize("main", ["exec sleep 1000", "while :; do kill -STOP $$; done"])
def test_a_kill_of_the_run_leaves_nothing_alive(box: Box, main: str) -> None:
    word = marker()
    process = box.start_sh(tree(word, main))
    directories = box.home.place / "tmp"
    before = set(directories.iterdir())
    process.kill()
    assert process.wait(5) == -signal.SIGKILL
    assert all_gone(word)
    # With namespaces all was in memory.
    assert box.engine != "proot" or any(before - set(directories.iterdir()) for _ in waiting(3)), (
        "the run's directory is still there"
    )


@pytest.mark.every_engine
def test_a_kill_of_the_keeper_leaves_nothing_alive(box: Box) -> None:
    word = marker()
    process = box.start_sh(tree(word, "exec sleep 1000"))
    (keeper,) = children(process.pid)
    os.kill(keeper, signal.SIGKILL)
    assert process.wait(8) == 128 + signal.SIGKILL
    assert all_gone(word, 2)


@pytest.mark.parametrize("engine", ["userns", "bwrap"])
def test_a_kill_of_all_that_is_ours_leaves_nothing_alive_in_namespaces(
    home: Home, engine: str
) -> None:
    word = marker()
    process = Box(home, engine).start_sh(tree(word, "exec sleep 1000"))
    (keeper,) = children(process.pid)
    os.kill(process.pid, signal.SIGSTOP)
    os.kill(keeper, signal.SIGKILL)
    process.kill()
    process.wait(5)
    assert all_gone(word)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


@pytest.mark.every_engine
@pytest.mark.parametrize("code", [0, 5])
def test_leftovers_die_with_the_main_process_and_its_status_is_kept(box: Box, code: int) -> None:
    word = marker()
    start = time.monotonic()
    ran = box.sh(tree(word, f"exit {code}"))
    assert (ran.code, ran.out) == (code, b"ready\n")
    assert time.monotonic() - start < 8
    assert all_gone(word, 1)


def test_a_leftover_that_holds_standard_output_does_not_block_its_reader(box: Box) -> None:
    start = time.monotonic()
    assert box.sh("(sleep 600 &) ; sleep 600 & echo over").text == "over\n"
    assert time.monotonic() - start < 8


def test_orphans_are_reaped_while_the_tool_runs(box: Box) -> None:
    script = "for i in 1 2 3 4 5; do (sh -c 'sleep 0' &) ; done; sleep 0.5; ps -o stat | grep -c Z"
    assert box.sh(script + "; true").text in ("0\n", "") or box.engine in HOSTS_PROCESSES


def test_a_stopped_container_goes_on_when_told(home: Home) -> None:
    process = Box(home, "userns").start_sh("echo ready; kill -STOP $$; exit 3")
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGCONT)
    assert process.wait(8) == 3


CALLER = """
    import os, signal, subprocess, sys, threading, time
    def call():
        subprocess.Popen(sys.argv[1:])
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    time.sleep(1000)
"""


@pytest.mark.parametrize("option", [["--die-with-parent"], []])
def test_the_end_of_the_caller_ends_the_container_only_when_asked(
    box: Box, option: list[str]
) -> None:
    word = marker()
    command = box.home.command(*box.words(*option, "busybox", "sh", "-c", tree(word, "sleep 1000")))
    caller = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CALLER), *map(os.fsdecode, command)],
        env=box.home.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert caller.stdout is not None and caller.stdout.readline() == b"ready\n"
    (run,) = children(caller.pid)
    time.sleep(1.5)
    assert len(with_marker(word)) >= 5, "the end of a thread of the caller has ended it"
    caller.kill()
    caller.wait()
    if option:
        assert all_gone(word)
    else:
        time.sleep(2)
        assert len(with_marker(word)) >= 4
        os.kill(run, signal.SIGTERM)
        assert all_gone(word)


def test_a_caller_that_ended_before_the_container_began_ends_it_all_the_same(
    home: Home, tmp_path: Path
) -> None:
    """It may have been killed while the image was fetched; here a file is waited for."""
    word, variables = marker(), tmp_path / "variables"
    os.mkfifo(variables)
    options: list[Word] = ["--die-with-parent", "--env-file", variables, f"--env=MARKER={word}"]
    command = home.command(*Box(home, "userns").words(*options, "busybox", "sleep", "1000"))
    caller = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CALLER), *map(os.fsdecode, command)],
        env=home.environment,
        stdin=subprocess.DEVNULL,
    )
    writer = next(filter(None, (opened(variables) for _ in waiting(PATIENCE))))
    caller.kill()
    caller.wait()
    os.close(writer)
    assert all_gone(word, PATIENCE)


def opened(fifo: Path) -> int:
    """A descriptor to write to it once somebody reads it, else 0."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return 0


def test_a_run_that_a_hangup_is_not_to_end_goes_on_after_one(box: Box) -> None:
    """As nohup(1) has it; a shell tells all its jobs of the end of the terminal."""
    process = box.start_sh(
        "trap 'exit 5' USR1; echo ready; while :; do sleep 0.1; done",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(PATIENCE) == 5


@pytest.mark.once
def test_a_keeper_that_is_stopped_is_no_reason_to_go_on(home: Home) -> None:
    """Under proot the container's processes are its user's, as the keeper is."""
    word, name = marker(), marker()
    process = Box(home, "proot").start_sh(tree(word, "exec sleep 1000"), "--name", name)
    (keeper,) = children(process.pid)
    os.kill(keeper, signal.SIGSTOP)
    assert home.call("kill", name).text == f"{name}\n"
    assert process.wait(PATIENCE) == 128 + signal.SIGKILL
    assert all_gone(word, PATIENCE)


def test_words_that_cwltool_writes_die_with_their_caller(box: Box, tmp_path: Path) -> None:
    word = marker()
    options = [f"--volume={tmp_path}:/jGeEGs", "--workdir=/jGeEGs", "--rm", "--env=TMPDIR=/tmp"]
    command = box.home.command(
        *box.words(*options, "--env=HOME=/jGeEGs", "busybox", "sh", "-c", tree(word, "sleep 1000"))
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CALLER), *map(os.fsdecode, command)],
        env=box.home.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert caller.stdout is not None and caller.stdout.readline() == b"ready\n"
    caller.kill()
    caller.wait()
    assert all_gone(word)


def test_a_named_container_is_found_and_killed_by_others(box: Box, tmp_path: Path) -> None:
    word, name, home = marker(), f"named-{box.engine}", box.home
    options: list[Word] = ["--name", name, "--cidfile", tmp_path / "cid"]
    process = box.start_sh(tree(word, "exec sleep 1000"), *options)
    share = home.call("stats", "--no-stream", "--format", "{{.MemPerc}}", name).text
    assert share.endswith("%\n") and 0 <= float(share[:-2]) < 50
    identifier = (tmp_path / "cid").read_text()
    shown = home.call("stats", "--no-stream", "--no-trunc", identifier).text
    assert identifier in shown and name in shown
    assert home.call("kill", name).text == f"{name}\n"
    assert process.wait(5) == 128 + signal.SIGKILL
    assert all_gone(word, 2)
    ran = home.call("kill", name)
    assert ran.code == 1 and name in ran.complaint


def test_another_signal_can_be_sent_by_name(box: Box, tmp_path: Path) -> None:
    script = "trap 'echo one; exit 4' USR1; echo ready; while :; do sleep 0.1; done"
    process = box.start_sh(script, "--name", f"usr-{box.engine}")
    assert box.home.call("kill", "-s", "USR1", f"usr-{box.engine}").code == 0
    assert process.wait(8) == 4


def test_the_container_is_made_of_descendants_of_the_run(box: Box) -> None:
    word = marker()
    process = box.start_sh(tree(word, "exec sleep 1000"))
    found, todo = set(), [process.pid]
    while todo:
        found.add(pid := todo.pop())
        todo += children(pid)
    assert set(with_marker(word)) <= found
    process.kill()
    assert all_gone(word)


def test_a_flood_of_signals_loses_nothing(box: Box) -> None:
    script = "n=0; trap 'n=$((n+1))' USR1; trap 'exit 6' TERM; echo ready; "
    process = box.start_sh(script + "while :; do sleep 0.1; done")
    for _ in range(200):
        process.send_signal(signal.SIGUSR1)
    process.terminate()
    assert process.wait(8) == 6


@pytest.mark.every_engine
@pytest.mark.parametrize("options", [[], ["-u", "root"], ["--read-only", "--network=none"]])
def test_nothing_is_left_behind_after_a_run(box: Box, options: list[str]) -> None:
    before = set(box.home.leftovers)
    assert box.sh("echo x > /tmp/f; mkdir -p /tmp/a/b; chmod 0 /tmp/a; exit 4", *options).code == 4
    assert box.run(*options, "busybox", "no-such-program").code == 127
    assert box.run(*options, "-u", "no-such-user", "busybox", "true").code == 125
    for _ in waiting(5):
        # Another test's run may be going on in this home.
        if set(box.home.leftovers) <= before:
            break
    assert set(box.home.leftovers) <= before


@pytest.mark.every_engine
def test_no_control_group_is_left_behind(box: Box, tmp_path: Path) -> None:
    process = box.start_sh("echo ready; sleep 1000", "--cidfile", tmp_path / "killed")
    process.kill()
    process.wait(5)
    assert box.sh("exit 3", "--cidfile", tmp_path / "ended").code == 3
    names = [(tmp_path / name).read_text()[:24] for name in ("killed", "ended")]
    groups = [Path("/sys/fs/cgroup").glob(f"**/*{name}*") for name in names]
    assert [list(found) for found in groups] == [[], []]


def test_a_signal_while_the_container_starts_ends_it_too(box: Box) -> None:
    for delay in (0.02, 0.05, 0.08, 0.12, 0.16, 0.2):
        word = marker()
        process = box.start("-e", f"MARKER={word}", "busybox", "sleep", "1000")
        time.sleep(delay)
        process.terminate()
        assert process.wait(15) in (-signal.SIGTERM, 128 + signal.SIGTERM), delay
        assert all_gone(word, 2)


def test_children_that_the_caller_had_before_it_became_the_run_are_left_alone(box: Box) -> None:
    word = marker()
    words = [part.decode() for part in box.home.command(*box.words("busybox", "true"))]
    script = f'sh -c "sleep 300; : {word}" > /dev/null & exec "$@"'
    done = subprocess.run(["sh", "-c", script, "sh", *words], env=box.home.environment, timeout=30)
    assert done.returncode == 0
    survivors = with_marker(word)
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    assert len(survivors) == 1

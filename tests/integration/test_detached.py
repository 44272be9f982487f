"""Containers that outlive their shell: ``run -d``, and what is done with them afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import ENGINES, PATIENCE, Box, Home, all_gone, marker, waiting, with_marker
from tests.detached import Stay, asked, free_port
from tests.terminals import Person

LOOP = "while :; do sleep 0.1; done"


@pytest.fixture(params=ENGINES)
def stay(request: pytest.FixtureRequest, home: Home) -> Iterator[Stay]:
    stay = Stay(home, request.param)
    yield stay
    stay.close()


@pytest.fixture
def any_stay(home: Home) -> Iterator[Stay]:
    """With the engine that is chosen by itself, for what is none of an engine's."""
    stay = Stay(home, "auto")
    yield stay
    stay.close()


def record(stay: Stay, name: str) -> Path:
    """What is written down of a run while it lasts."""
    runs = stay.home.place / "state" / "cwl-userspace" / "runs"
    found = [path for path in runs.glob("*.json") if json.loads(path.read_text())["name"] == name]
    assert len(found) == 1
    return found[0]


def supervisor(stay: Stay, name: str) -> int:
    return int(json.loads(record(stay, name).read_text())["pid"])


def test_it_survives_its_shell_answers_logs_stops_and_is_known_afterwards(stay: Stay) -> None:
    """The other side of its shell's terminal is closed, as when a connection breaks."""
    name, port, word = stay.name(), free_port(), marker()
    serve = f"echo serving {word}; exec nc -ll -p {port} -e cat"
    words = ("-d", "--name", name, "-e", f"WORD={word}", "busybox", "sh", "-c", serve)
    login = Person(Box(stay.home, stay.engine), *words, shell='"$@" && echo star""ted; sleep 1000')
    try:
        assert login.sees("started")
        login.hang_up()
    finally:
        login.leave()
    assert asked(port, b"hi\n") == b"hi\n"
    assert stay.log_has(name, f"serving {word}\n")
    assert stay.status(name).startswith("running, Up (process ")
    assert stay.call("stop", "-t", "1", name).text == f"{name}\n"
    assert all_gone(word)
    code = stay.call("wait", name).text.strip()
    assert code in ("137", "143")
    assert stay.status(name).startswith(f"exited, Exited ({code}) ")
    assert stay.call("logs", name).text == f"serving {word}\n"
    assert stay.call("rm", name).text == f"{name}\n"
    gone = stay.call("logs", name)
    assert gone.code == 1 and f"no container '{name}'" in gone.complaint


def test_stop_waits_for_a_container_whose_time_to_end_is_without_limit(any_stay: Stay) -> None:
    trap = "trap 'echo asked; until [ -e /tmp/go ]; do sleep 0.1; done; exit 9' TERM; echo ready"
    name = any_stay.start(f"{trap}; while :; do sleep 0.1; done", "--stop-timeout", "-1")
    assert any_stay.log_has(name, "ready")
    stopping = subprocess.Popen(any_stay.home.command("stop", name), env=any_stay.home.environment)
    assert any_stay.log_has(name, "asked")
    assert any_stay.exec(name, "touch /tmp/go").code == 0
    assert stopping.wait(PATIENCE) == 0
    assert any_stay.call("wait", name).text == "9\n"


def test_after_its_supervisor_is_killed_nothing_is_left_and_ps_says_so(stay: Stay) -> None:
    word = marker()
    name = stay.start(f"sleep 1000 & echo ready; {LOOP}", "-e", f"WORD={word}")
    assert stay.log_has(name, "ready")
    assert stay.call("exec", "-d", name, "sleep", "999").text == ""
    assert len(with_marker(word)) >= 3
    os.kill(supervisor(stay, name), signal.SIGKILL)
    assert all_gone(word, PATIENCE)
    assert name not in stay.call("ps").text
    row = next(line for line in stay.call("ps", "-a").text.splitlines() if name in line)
    assert "Exited (137)" in row and "its supervisor was killed" in row
    assert stay.call("wait", name).text == "137\n"
    assert "ready" in stay.call("logs", name).text


def test_exec_joins_it(stay: Stay) -> None:
    script = f"echo inside > /tmp/file; trap 'exit 3' TERM; echo ready; {LOOP}"
    name = stay.start(script, "-e", "FIRST=1", "-w", "/tmp")
    assert stay.log_has(name, "ready")
    look = "cat /tmp/file; echo $FIRST $SECOND; pwd; cat /proc/[0-9]*/environ 2>/dev/null"
    lines = stay.exec(name, look, "-e", "SECOND=2").out.split(b"\n", 3)
    assert lines[:3] == [b"inside", b"1 2", b"/tmp"]
    if stay.engine != "proot":  # which shows processes, but keeps what is in them
        assert lines[3].count(b"FIRST=1") >= 2
    assert stay.exec(name, "cat; pwd; exit 4", "-i", "-w", "/home/tool", stdin=b"fed\n") == (
        4, b"fed\n/home/tool\n", b"")  # fmt: skip
    assert stay.exec(name, "cat", stdin=b"not fed\n").text == ""
    assert stay.exec(name, "echo more > /tmp/more").code == 0
    assert stay.exec(name, "cat /tmp/more").text == "more\n"
    missing = stay.call("exec", name, "no-such-program")
    assert missing.code == 127 and "'no-such-program'" in missing.complaint
    nowhere = stay.exec(name, "pwd", "-w", "/no/such")
    assert nowhere.code == 125 and "has no directory '/no/such'" in nowhere.complaint


def test_what_exec_has_started_ends_with_the_container(stay: Stay) -> None:
    word = marker()
    name = stay.start(f"echo ready; {LOOP}")
    assert stay.log_has(name, "ready")
    words = stay.home.command("exec", "-e", f"WORD={word}", name, "sleep", "1000")
    with subprocess.Popen(words, env=stay.home.environment) as process:
        assert any(len(with_marker(word)) >= 2 for _ in waiting(PATIENCE))
        assert stay.call("stop", "-t", "0", name).code == 0
        assert process.wait(PATIENCE) == 137
    assert all_gone(word)
    over = stay.call("exec", name, "true")
    assert over.code == 1 and "is not running" in over.complaint


def test_a_container_of_create_keeps_its_changes_and_is_started_again(stay: Stay) -> None:
    name = stay.name()
    script = "echo run >> /data/runs; cat /data/runs; trap 'exit 5' TERM; echo ready; " + LOOP
    made = stay.call("create", "--name", name, "busybox", "sh", "-c", script).text
    assert stay.status(name) == "created, Created"
    assert stay.call("run", "-d", name).text == made
    assert stay.log_has(name, "ready")
    assert stay.exec(name, "cat /data/runs").text == "run\n"
    assert stay.call("restart", name).text == f"{name}\n"
    assert stay.log_has(name, "run\nrun\nready")
    assert stay.call("stop", name).code == 0
    assert stay.call("wait", made.strip()).text == "5\n"
    assert stay.call("start", name).text == f"{name}\n"
    assert stay.log_has(name, "run\nrun\nrun\nready")


def test_what_cannot_start_fails_at_once_and_is_not_known(stay: Stay) -> None:
    name = stay.name()
    for words, code, about in (
        (["busybox", "no-such-program"], 127, "'no-such-program'"),
        (["busybox", "/bin/not-executable"], 126, "'/bin/not-executable'"),
        (["no-such-image:1", "true"], 125, "no-such-image:1"),
        (["--restart", "always", "busybox", "true"], 125, "--restart is 'always'"),
        (["--stop-signal", "NOPE", "busybox", "true"], 125, "no signal 'NOPE'"),
        (["-p", "80:81", "--net", "none", "busybox", "true"], 125, "needs a network"),
    ):
        failed = stay.call("--offline", "run", "-d", "--name", name, *words)
        assert failed.code == code and about in failed.complaint
    assert stay.call("status", name).code == 1


def test_a_name_is_given_once(any_stay: Stay) -> None:
    name = any_stay.start("exit 6")
    assert any_stay.call("wait", name).text == "6\n"
    for verb in (["run", "-d"], ["run"], ["create"]):
        again = any_stay.call(*verb, "--name", name, "busybox", "true")
        assert again.code == 125 and f"the container name '{name}' is taken" in again.complaint
    other = any_stay.name()
    assert any_stay.call("rename", name, other).text == ""
    assert any_stay.status(other).startswith("exited, Exited (6)")
    assert any_stay.call("wait", name).code == 1
    assert any_stay.call("run", "-d", "--rm", "--name", name, "busybox", "true").code == 0
    assert any(any_stay.call("status", name).code == 1 for _ in waiting(PATIENCE))


def test_a_container_that_runs_keeps_its_name_from_what_create_makes(any_stay: Stay) -> None:
    name, made, other = any_stay.start(LOOP), any_stay.name(), any_stay.name()
    assert any_stay.call("create", "--name", made, "busybox", "sh", "-c", LOOP).code == 0
    for words in (("name", made, name), ("clone", "--name", name, made)):
        refused = any_stay.call(*words)
        assert refused.code == 125 and f"the container name '{name}' is taken" in refused.complaint
    assert any_stay.call("start", made).code == 0
    assert any_stay.call("name", made, other).text == ""
    shown = ("stats", "--no-stream", "--format", "{{.Name}}")
    assert any_stay.call(*shown, name, other).text == f"{name}\n{made}\n"


def test_one_that_is_forgotten_at_its_end_is_started_again(any_stay: Stay) -> None:
    name = any_stay.start(LOOP, "--rm")
    before = json.loads(record(any_stay, name).read_text())
    assert any_stay.call("restart", "-t", "0", name).text == f"{name}\n"
    after = json.loads(record(any_stay, name).read_text())
    assert (after["id"], after["argv"]) == (before["id"], before["argv"])
    assert after["pid"] != before["pid"]
    assert any_stay.call("stop", "-t", "0", name).code == 0
    assert any_stay.call("status", name).code == 1


def test_logs_keep_streams_and_times_apart(any_stay: Stay) -> None:
    name = any_stay.start("echo one; echo two >&2; printf thr; echo ee; printf end")
    assert any_stay.call("wait", name).text == "0\n"
    ran = any_stay.call("logs", name)
    assert (ran.code, ran.out, ran.err) == (0, b"one\nthree\nend", b"two\n")
    assert any_stay.call("logs", "--tail", "1", name).out == b"end"
    assert any_stay.call("logs", "--tail", "-1", name) == ran
    assert any_stay.call("logs", "--since", "1h", name) == ran
    assert any_stay.call("logs", "--until", "2000-01-01", name) == (0, b"", b"")
    assert any_stay.call("logs", "--since", "2100-01-01", name).out == b""
    stamp, _, text = any_stay.call("logs", "-t", "-n", "1", name).out.partition(b" ")
    assert text == b"end" and stamp.startswith(b"20") and stamp.endswith(b"Z")


def test_logs_follow_to_the_end(any_stay: Stay) -> None:
    name = any_stay.start("echo first; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo last")
    words = any_stay.home.command("logs", "-f", name)
    with subprocess.Popen(
        words, env=any_stay.home.environment, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"first\n"
        any_stay.exec(name, "touch /tmp/go")  # which may be ended with the container
        assert process.stdout.read() == b"last\n" and process.wait(PATIENCE) == 0


def test_a_log_is_of_bounded_size_and_has_the_newest(any_stay: Stay) -> None:
    script = "i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo line $i; done"
    name = any_stay.start(script, "--log-opt", "max-size=64k")
    assert any_stay.call("wait", name).text == "0\n"
    places = list((any_stay.home.place / "state" / "cwl-userspace" / "logs").iterdir())
    known = any_stay.call("ps", "-a", "--no-trunc", "--format", "json").text.splitlines()
    own = next(row["ID"] for row in map(json.loads, known) if row["Names"] == name)
    assert sum(path.stat().st_size for path in places if path.name.startswith(own)) <= 64 << 10
    lines = any_stay.call("logs", name).text.splitlines()
    assert lines[-1] == "line 4000" and 100 < len(lines) < 4000
    assert [int(line.split()[1]) for line in lines] == list(range(4001 - len(lines), 4001))


def test_what_ran_before_the_host_was_restarted_does_not_run(any_stay: Stay) -> None:
    """A process of the same number may have started at the same tick."""
    name = any_stay.start(LOOP)
    place = record(any_stay, name)
    known = json.loads(place.read_text())
    place.write_text(json.dumps({**known, "boot": "another"}))
    try:
        assert any_stay.status(name).startswith("exited, Exited (255) ")
        assert "the host was restarted" in any_stay.call("ps", "-a").text
    finally:
        os.kill(known["pid"], signal.SIGKILL)


def test_a_port_that_differs_is_passed_on(any_stay: Stay) -> None:
    inside, outside = free_port(), free_port()
    name = any_stay.start(f"exec nc -ll -p {inside} -e cat", "-p", f"{outside}:{inside}")
    sent = os.urandom(1 << 20)
    assert asked(outside, sent) == sent
    assert f"0.0.0.0:{outside}->{inside}/tcp" in any_stay.call("ps").text
    assert any_stay.call("port", name, str(inside)).text == f"0.0.0.0:{outside}\n"
    taken = any_stay.call("run", "-p", f"{outside}:{inside}", "busybox", "true")
    assert taken.code == 125 and f"port {outside} of 0.0.0.0" in taken.complaint
    assert any_stay.call("stop", "-t", "0", name).code == 0
    again = any_stay.call("run", "-p", f"{outside}:{inside}", "busybox", "true")
    assert again.code == 0, again


@pytest.mark.parametrize("text", ["80", "x:80", "1:2:3:4", "70000:1", "1-2:3", "1:2/udp", "1:0"])
@pytest.mark.once
def test_ports_that_have_no_meaning_are_refused(any_stay: Stay, text: str) -> None:
    if text == "80":  # nothing needs to be passed on
        assert any_stay.call("run", "-p", text, "busybox", "true").code == 0
        return
    refused = any_stay.call("run", "-p", text, "busybox", "true")
    assert refused.code == 125 and f"-p {text!r}" in refused.complaint.replace(" is ", " ")

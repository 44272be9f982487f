"""What people do with containers that stay: join, rename, end and start them, and what holds after
a kill or a crash.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers import (
    ENGINES,
    OTHER_ENGINES,
    PATIENCE,
    Box,
    Home,
    all_gone,
    marker,
    with_marker,
)
from tests.detached import Stay

LOOP = "while :; do sleep 0.1; done"


@pytest.fixture
def staying(home: Home) -> Iterator[Callable[[str], Stay]]:
    """Containers of an engine; they are removed at the end."""
    made: list[Stay] = []

    def make(engine: str = "auto") -> Stay:
        made.append(Stay(Box(home, engine).home, engine))
        return made[-1]

    yield make
    for stay in made:
        stay.close()


def runs(stay: Stay) -> Path:
    return stay.home.place / "state" / "cwl-userspace" / "runs"


def said(stay: Stay, name: str) -> dict[str, Any]:
    """What is written down of a run; nothing as long as nothing is."""
    for path in runs(stay).glob("*.json"):
        try:
            record: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if record.get("name") == name:
            return record
    return {}


def can_be_joined(engine: str, home: Home) -> bool:
    """Where crun is given a name space for its control groups, another command has another one."""
    return os.geteuid() == 0 or not Box(home, engine).home.prefix


@pytest.mark.parametrize("engine", [*ENGINES, *OTHER_ENGINES])
def test_exec_is_bound_as_the_container_is_and_has_a_terminal_of_it_with_every_engine(
    staying: Callable[[str], Stay], home: Home, engine: str
) -> None:
    if not can_be_joined(engine, home):
        return
    stay = staying(engine)
    word = marker()
    # ch-run leaves all capabilities to a container, which exec does not; and runc, where it has no
    # rights, the bounding set, from which nothing can be had with no_new_privs.
    capabilities = "" if engine == "charliecloud" else "Cap|"
    if engine == "runc" and os.geteuid():
        capabilities = "Cap(Inh|Prm|Eff|Amb)|"
    bound = f"grep -E '^({capabilities}NoNewPrivs|Seccomp:|Cpus_allowed_list)' /proc/self/status"
    main = f"{bound} > /tmp/bound; echo inside > /tmp/file; echo ready; {LOOP}"
    name = stay.start(main, "-e", f"WORD={word}", "--cpuset-cpus", "0")
    assert stay.log_has(name, "ready")
    assert stay.exec(name, f"{bound} | diff /tmp/bound - && cat /tmp/bound").text.endswith(":\t0\n")
    script = 'cat /tmp/file; echo told > "$(tty)"; test -t 0 && echo 3 > /dev/tty; exit 3'
    ran = stay.exec(name, script, "-t")
    assert ran == (3, b"inside\r\ntold\r\n3\r\n", b"")
    assert stay.call("rm", "-f", name).code == 0
    assert all_gone(word)


def test_a_container_that_runs_has_another_name_at_once(staying: Callable[[str], Stay]) -> None:
    """Under proot, whose program finds its files by a path with the name in it, it has to end."""
    stay = staying("userns")
    first, second = stay.name(), stay.name()
    assert stay.call("create", "--name", first, "busybox", "sh", "-c", LOOP).code == 0
    assert stay.call("start", first).code == 0
    assert stay.call("rename", first, second).text == ""
    assert stay.status(second).startswith("running") and stay.call("status", first).code == 1
    assert stay.exec(second, "echo kept > /data/file").text == ""
    assert stay.call("restart", "-t", "0", second).text == f"{second}\n"
    assert stay.exec(second, "cat /data/file").text == "kept\n"
    assert stay.call("stop", "-t", "0", second).code == 0
    assert stay.call("--engine", "proot", "start", second).code == 0
    refused = stay.call("rename", second, first)
    assert refused.code == 1 and "runs with proot" in refused.complaint
    assert stay.exec(second, "cat /data/file").text == "kept\n"


def test_stop_sends_the_signal_of_the_container_and_ends_what_does_not_heed_it(
    staying: Callable[[str], Stay],
) -> None:
    stay, word = staying("auto"), marker()
    asked = stay.start(
        f"trap 'echo asked; exit 9' INT; echo ready; {LOOP}", "--stop-signal", "SIGINT"
    )
    deaf = stay.start(f"trap '' TERM; sleep 1000 & echo ready; {LOOP}", "-e", f"WORD={word}")
    assert stay.log_has(asked, "ready") and stay.log_has(deaf, "ready")
    assert stay.call("stop", "-t", "1", asked, deaf).text == f"{asked}\n{deaf}\n"
    assert all_gone(word)
    assert stay.call("wait", asked, deaf).text == "9\n137\n"
    assert stay.call("logs", asked).text == "ready\nasked\n"


def test_what_was_started_again_here_is_the_same_container(staying: Callable[[str], Stay]) -> None:
    stay, name = staying("auto"), ""
    name = stay.start("echo run; cat; exit 6")
    assert stay.call("wait", name).text == "6\n"
    ids = stay.call("ps", "-aq", "--no-trunc").text
    assert stay.call("start", "-a", name, stdin=b"fed\n") == (6, b"run\n", b"")
    assert stay.call("start", "-ai", name, stdin=b"fed\n") == (6, b"run\nfed\n", b"")
    assert stay.call("ps", "-aq", "--no-trunc").text == ids
    assert stay.status(name).startswith("exited, Exited (6)")


def test_an_interrupt_ends_the_look_at_a_log_and_nothing_else(
    staying: Callable[[str], Stay],
) -> None:
    stay = staying("auto")
    name = stay.start(f"echo ready; {LOOP}")
    words = stay.home.command("logs", "-f", name)
    with subprocess.Popen(
        words, env=stay.home.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as look:
        assert look.stdout is not None and look.stdout.readline() == b"ready\n"
        look.send_signal(signal.SIGINT)
        assert look.communicate(timeout=PATIENCE) == (b"", b"") and look.returncode == 130
    assert stay.status(name).startswith("running")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_supervisor_that_is_killed_while_it_starts_leaves_nothing(
    staying: Callable[[str], Stay], engine: str
) -> None:
    stay, word = staying(engine), marker()
    name, before = stay.name(), stay.home.leftovers
    script = f"trap '' TERM; sleep 1000 & echo ready; {LOOP}"
    words = ("run", "-d", "--name", name, "-e", f"WORD={word}", "busybox", "sh", "-c", script)
    starting = subprocess.Popen(
        stay.home.command("--engine", engine, *words),
        env=stay.home.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not said(stay, name) and starting.poll() is None:
        pass  # the earlier the better
    os.kill(said(stay, name)["pid"], signal.SIGKILL)
    assert starting.wait(PATIENCE) in (0, 125)
    assert all_gone(word, PATIENCE)
    assert stay.status(name).endswith("its supervisor was killed")
    assert stay.call("start", name).text == f"{name}\n"
    assert stay.log_has(name, "ready")
    assert stay.call("rm", "-f", name).code == 0
    assert all_gone(word)
    assert set(stay.home.leftovers) <= set(before)


def test_what_a_killed_container_had_for_itself_is_removed_by_whoever_looks(
    staying: Callable[[str], Stay],
) -> None:
    """With its keeper killed, too, nobody else could. Nothing forks while they are killed, the
    start is over: proot 5.1 may then keep a process that it has seen before its parent's fork."""
    stay, word = staying("proot"), marker()
    name = stay.start("echo ready; exec sleep 1000", "-e", f"WORD={word}")
    assert stay.log_has(name, "ready")
    record = said(stay, name)
    killed = (record["pid"], record["keeper"])
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in killed:
            os.kill(pid, number)
    assert all_gone(word, PATIENCE)
    assert Path(record["launch"]["private"]).exists()
    assert stay.status(name).startswith("exited, Exited (137)")
    assert not Path(record["launch"]["private"]).exists()


def test_a_crash_of_the_host_leaves_records_that_are_understood_or_removed(
    staying: Callable[[str], Stay],
) -> None:
    stay = staying("auto")
    name = stay.start(LOOP)
    record = said(stay, name)
    kept, forgotten = stay.name(), stay.name()
    for dead, lasting in ((kept, True), (forgotten, False)):
        known = {**record, "id": os.urandom(32).hex(), "name": dead, "boot": "b", "kept": lasting}
        (runs(stay) / f"{known['id']}.json").write_text(json.dumps(known))
    for number, text in enumerate(("", json.dumps(record)[:99], "[]", '{"id":3}')):
        (runs(stay) / f"torn{number}.json").write_text(text)
    listed = {
        row["Names"]: row
        for row in map(json.loads, stay.call("ps", "-a", "--format", "json").text.splitlines())
    }
    assert listed[name]["State"] == "running" and forgotten not in listed
    assert listed[kept]["Status"].startswith("Exited (255)")
    assert [path.name for path in runs(stay).iterdir()] == [f"{record['id']}.json"]
    assert stay.call("rm", kept).text == f"{kept}\n"
    assert with_marker(record["id"]) == []


@pytest.mark.once
@pytest.mark.parametrize(
    "words",
    [
        *(
            ("stop", "-t", "x", "one"),
            ("stop", "--time", "x", "one"),
            ("restart", "--timeout=x", "a"),
        ),
        *(("logs", "-n", "x", "one"), ("logs", "--tail=x", "one"), ("ps", "-n", "x")),
        *(("run", "-m", "x", "busybox"), ("run", "-e", "=x", "busybox")),
        *(("run", "-p", "x", "busybox", "true"), ("run", "--publish", "x", "busybox", "true")),
        ("build", "--net", "x", "."),
    ],
    ids=" ".join,
)
def test_an_error_names_an_option_as_it_was_typed(home: Home, words: tuple[str, ...]) -> None:
    typed = words[1].partition("=")[0]
    assert home.call(*words).complaint.startswith(f"cwl-userspace: {typed} is '")

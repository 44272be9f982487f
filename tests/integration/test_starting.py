"""cwltool's jobs through the server that forks: how they end, with what, and who can read what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers import Home, all_gone, marker, waiting, with_marker
from tests.integration.test_lifetime import tree

PATIENCE = 60
TOOL: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "requirements": {"DockerRequirement": {"dockerPull": "busybox"}},
    "baseCommand": ["sh", "-c"],
    "inputs": {"script": {"type": "string", "inputBinding": {"position": 1}}},
    "outputs": {"out": {"type": "stdout"}, "err": {"type": "stderr"}},
    "stdout": "out.txt",
    "stderr": "err.txt",
}


class Started:
    """A cwltool of ours that runs, in a session of its own."""

    def __init__(
        self, home: Home, place: Path, document: Any, order: Any, *options: str, **variables: str
    ) -> None:
        self.place = place
        (place / "document.cwl").write_text(json.dumps(document))
        (place / "order.json").write_text(json.dumps(order))
        program = str(Path(sys.executable).with_name("cwltool-userspace"))
        words = [program, "--outdir", str(place / "outputs"), *options]
        with (place / "log").open("wb") as log, (place / "result").open("wb") as result:
            self.process = subprocess.Popen(
                [*words, str(place / "document.cwl"), str(place / "order.json")],
                env={**home.environment, **variables},
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=result,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> int:
        """The exit code."""
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()

    @property
    def log(self) -> str:
        return (self.place / "log").read_text()

    def output(self, name: str = "out.txt") -> str:
        return (self.place / "outputs" / name).read_text()

    def running(self, word: str, number: int = 4) -> None:
        """Wait until so many processes have the word."""
        assert any(len(with_marker(word)) >= number for _ in waiting(PATIENCE)), self.log

    @property
    def servers(self) -> list[int]:
        """The processes of cwltool that serve."""
        found = []
        for name in children(self.process.pid):
            if b"launchserver" in Path(f"/proc/{name}/cmdline").read_bytes():
                found.append(name)
        return found


def children(pid: int) -> list[int]:
    """The processes that one has started, from any of its threads."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(word) for task in tasks for word in (task / "children").read_text().split()]


def tool(script: str, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tool and its order."""
    requirements = {**TOOL["requirements"], **changes.pop("requirements", {})}
    return {**TOOL, **changes, "requirements": requirements}, {"script": script}


def scatter(scripts: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A workflow that runs each script in a container."""
    step = {"run": TOOL, "scatter": "script", "in": {"script": "scripts"}, "out": ["out"]}
    workflow = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "requirements": {"ScatterFeatureRequirement": {}},
        "inputs": {"scripts": "string[]"},
        "outputs": {
            "outs": {
                "type": {"type": "array", "items": ["null", "File"]},
                "outputSource": "each/out",
            }
        },
        "steps": {"each": step},
    }
    return workflow, {"scripts": scripts}


@pytest.fixture
def started() -> Iterator[list[Started]]:
    """What a test has started, to be ended after it in any case."""
    found: list[Started] = []
    yield found
    for one in found:
        one.process.kill()


def test_streams_exit_code_and_memory_are_the_jobs(home: Home, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("some input\n")
    file = {"class": "File", "path": str(tmp_path / "input")}
    document, order = tool(
        "cat; echo an error >&2; exit 3", successCodes=[3], stdin="$(inputs.file.path)"
    )
    document["inputs"] = {**document["inputs"], "file": "File"}
    one = Started(home, tmp_path, document, {**order, "file": file})
    assert one.wait() == 0, one.log
    assert (one.output(), one.output("err.txt")) == ("some input\n", "an error\n")
    assert one.log.count("Max memory used: ") == 1
    assert "each container is started by a new Python" not in one.log


def test_the_command_is_executed_where_the_server_is_switched_off(
    home: Home, tmp_path: Path
) -> None:
    one = Started(home, tmp_path, *tool("echo done"), CWL_USERSPACE_LAUNCHER="off")
    assert one.wait() == 0, one.log
    assert one.output() == "done\n"
    assert "Max memory used" not in one.log


def test_what_a_user_asks_of_cwltool_about_containers_costs_no_second_look(
    home: Home, tmp_path: Path
) -> None:
    (tmp_path / "ids").mkdir()
    one = Started(home, tmp_path, *tool("echo done"), "--cidfile-dir", str(tmp_path / "ids"))
    assert one.wait() == 0, one.log
    assert one.log.count("Max memory used: ") == 1
    assert "docker stats" not in one.log
    (file,) = (tmp_path / "ids").iterdir()
    assert len(file.read_text()) == 64


def test_fifty_jobs_at_once_have_their_own_results(home: Home, tmp_path: Path) -> None:
    scripts = [f"echo {number}; exit 0" for number in range(50)]
    one = Started(home, tmp_path, *scatter(scripts), "--parallel")
    assert one.wait() == 0, one.log[-3000:]
    files = json.loads((tmp_path / "result").read_text())["outs"]
    assert [Path(file["path"]).read_text() for file in files] == [f"{n}\n" for n in range(50)]
    assert one.log.count("Max memory used: ") == 50


def test_jobs_go_on_without_the_server_once_it_is_killed(
    home: Home, tmp_path: Path, started: list[Started]
) -> None:
    word = marker()
    scripts = [tree(word, "exec sleep 1000"), "echo second"]
    one = Started(home, tmp_path, *scatter(scripts), "--on-error", "continue")
    started.append(one)
    one.running(word)
    (server,) = one.servers
    os.kill(server, signal.SIGKILL)
    assert one.wait() == 1
    assert all_gone(word, PATIENCE)
    assert "was terminated by signal: SIGKILL" in one.log
    assert one.log.count("each container is started by a new Python from now on") == 1
    outs = json.loads((tmp_path / "result").read_text())["outs"]
    assert [Path(out["path"]).read_text() for out in outs if out][-1] == "second\n"


@pytest.mark.parametrize("parallel", [[], ["--parallel"]])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_cwltool_that_is_killed_or_asked_to_end(
    home: Home, tmp_path: Path, started: list[Started], number: int, parallel: list[str]
) -> None:
    word = marker()
    scripts = [tree(word, "exec sleep 1000"), f"echo {word}"]
    one = Started(home, tmp_path, *scatter(scripts), *parallel)
    started.append(one)
    one.running(word)
    servers = one.servers
    assert len(servers) == 1
    os.kill(one.process.pid, number)
    assert any(not with_marker(word) for _ in waiting(PATIENCE)), one.log
    if parallel and number == signal.SIGTERM:
        # cwltool itself never ends then: its threads wait for a lock that its main thread holds.
        one.process.kill()
    assert one.wait() != 0
    assert any(not Path(f"/proc/{servers[0]}").exists() for _ in waiting(PATIENCE))


def test_an_interrupt_from_the_terminal_ends_the_container(
    home: Home, tmp_path: Path, started: list[Started]
) -> None:
    word = marker()
    one = Started(home, tmp_path, *tool(tree(word, "exec sleep 1000")))
    started.append(one)
    one.running(word)
    os.killpg(one.process.pid, signal.SIGINT)
    assert one.wait() != 0
    assert all_gone(word, PATIENCE)


def test_a_time_limit_ends_the_whole_tree_and_fails_the_job(
    home: Home, tmp_path: Path, started: list[Started]
) -> None:
    word = marker()
    limit = {"ToolTimeLimit": {"timelimit": 2}}
    one = Started(home, tmp_path, *tool(tree(word, "exec sleep 1000"), requirements=limit))
    started.append(one)
    assert one.wait() == 1
    assert all_gone(word, PATIENCE)
    assert "exceeded time limit of 2 seconds and will be terminated" in one.log
    assert "completed permanentFail" in one.log


@pytest.mark.parametrize("engine", ["userns", "proot"])
def test_a_secret_is_among_the_arguments_of_no_process(
    home: Home, tmp_path: Path, engine: str
) -> None:
    secret = marker()
    document, order = tool(
        'echo ready; while ! test -e "$HOME/go"; do sleep 0.1; done; printf %s "$PASSWORD" | wc -c',
        requirements={"EnvVarRequirement": {"envDef": {"PASSWORD": "$(inputs.password)"}}},
        hints={"cwltool:Secrets": {"secrets": ["password"]}},
    )
    document["$namespaces"] = {"cwltool": "http://commonwl.org/cwltool#"}
    document["inputs"] = {**document["inputs"], "password": "string"}
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    one = Started(
        home,
        tmp_path,
        document,
        {**order, "password": secret},
        "--enable-dev",
        "--tmp-outdir-prefix",
        f"{temporary}/",
        CWL_USERSPACE_ENGINE=engine,
    )
    seen: list[bytes] = []
    watcher = threading.Thread(target=watch, args=(secret, one.process, seen))
    watcher.start()
    outputs = (path for _ in waiting(PATIENCE) for path in temporary.glob("*/out.txt"))
    first = next(path for path in outputs if path.read_text() == "ready\n")
    (first.parent / "go").touch()
    assert one.wait() == 0, one.log
    watcher.join(PATIENCE)
    assert one.output() == f"ready\n{len(secret)}\n"
    assert seen == []
    assert secret not in one.log


def watch(secret: str, process: subprocess.Popen[bytes], seen: list[bytes]) -> None:
    """Look at all arguments on this host again and again until a process has ended."""
    while process.poll() is None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes()
            except OSError:
                continue
            if secret.encode() in words:
                seen.append(words)

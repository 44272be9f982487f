"""Both doors of cwltool, with each engine: what a document says holds in the container."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.containers import ENGINES, Home, Ran

DOORS = {
    "extension": ["cwltool-userspace"],
    "user-space": ["cwltool", "--user-space-docker-cmd=cwl-userspace"],
}
SCRIPT_TOOL: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "requirements": {"DockerRequirement": {"dockerPull": "busybox"}},
    "baseCommand": ["sh", "-c"],
    "inputs": {
        "script": {"type": "string", "inputBinding": {"position": 1}},
        "file": {"type": "File?", "inputBinding": {"position": 2}},
    },
    "outputs": {"out": {"type": "stdout"}, "err": {"type": "stderr"}},
    "stdout": "out.txt",
    "stderr": "err.txt",
}


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def cwl(
    home: Home,
    door: str,
    engine: str,
    place: Path,
    script: str,
    file: Path | None = None,
    **changes: Any,
) -> tuple[Ran, Path]:
    """Run the tool; how cwltool ended, and the directory of the outputs."""
    tool = {**SCRIPT_TOOL, **changes}
    tool["requirements"] = {**SCRIPT_TOOL["requirements"], **changes.get("requirements", {})}
    (place / "tool.cwl").write_text(json.dumps(tool))
    order: dict[str, Any] = {"script": script}
    if file is not None:
        order["file"] = {"class": "File", "path": str(file)}
    (place / "job.json").write_text(json.dumps(order))
    scripts = Path(sys.executable).parent
    program, *options = DOORS[door]
    command = [str(scripts / program), *options, "--outdir", str(place / "outputs")]
    done = subprocess.run(
        [*command, str(place / "tool.cwl"), str(place / "job.json")],
        env={
            **home.environment,
            "PATH": f"{scripts}:{home.environment['PATH']}",
            "CWL_USERSPACE_ENGINE": engine,
            "SECRET": "of the host",
        },
        cwd=place,
        capture_output=True,
        timeout=100,
    )
    return Ran(done.returncode, done.stdout, done.stderr), place / "outputs"


def test_a_tool_runs_in_the_image_as_the_caller(
    home: Home, door: str, engine: str, tmp_path: Path
) -> None:
    ran, outputs = cwl(home, door, engine, tmp_path, "cat /etc/group; env; pwd")
    assert ran.code == 0, ran
    printed = (outputs / "out.txt").read_text()
    assert "toolgroup:x:2345:" in printed
    assert "SECRET" not in printed and "PROOT" not in printed
    lines = printed.splitlines()
    assert f"HOME={lines[-1]}" in lines and "TMPDIR=/tmp" in lines
    assert (outputs / "err.txt").read_text() == ""


def test_the_forced_engine_is_the_one_that_runs(
    home: Home, door: str, engine: str, tmp_path: Path
) -> None:
    """In namespaces the program is traced by nobody and process 2; proot is its tracer."""
    ran, outputs = cwl(home, door, engine, tmp_path, "grep -e TracerPid -e NSpid /proc/self/status")
    assert ran.code == 0, ran
    facts = dict(line.split(":\t", 1) for line in (outputs / "out.txt").read_text().splitlines())
    traced = facts["TracerPid"] != "0"
    assert traced == (engine == "proot")


def test_the_exit_code_of_a_tool_fails_its_job(
    home: Home, door: str, engine: str, tmp_path: Path
) -> None:
    ran, _ = cwl(home, door, engine, tmp_path, "exit 3")
    assert ran.code == 1 and b"permanentFail" in ran.err
    ran, _ = cwl(home, door, engine, tmp_path, "exit 3", successCodes=[3])
    assert ran.code == 0


def test_a_name_with_a_colon_reaches_the_tool(
    home: Home, door: str, engine: str, tmp_path: Path
) -> None:
    data = tmp_path / "A:Gln2Cys"
    data.write_text("found\n")
    ran, outputs = cwl(home, door, engine, tmp_path, 'cat "$0"', data)
    assert ran.code == 0, ran
    assert (outputs / "out.txt").read_text() == "found\n"


def test_the_extension_says_once_which_engine_runs_the_containers(
    home: Home, engine: str, tmp_path: Path
) -> None:
    ran, _ = cwl(home, "extension", engine, tmp_path, "true")
    said = f"containers are run by cwl-userspace with the engine {engine}".encode()
    assert ran.err.count(said) == 1
    assert ran.err.count(b"loopback included") == (1 if engine == "proot" else 0)


def test_without_a_working_engine_the_extension_fails_with_the_reason(
    home: Home, tmp_path: Path
) -> None:
    ran, _ = cwl(home, "extension", "nonsense", tmp_path, "true")
    assert ran.code == 1 and b"no engine 'nonsense'" in ran.err


def test_an_image_that_nobody_has_fails_the_job_with_one_reason(
    home: Home, door: str, tmp_path: Path
) -> None:
    missing = {"DockerRequirement": {"dockerPull": "127.0.0.1:9/no/such:1"}}
    ran, _ = cwl(home, door, "auto", tmp_path, "true", requirements=missing)
    assert ran.code in (1, 33) and b"127.0.0.1:9" in ran.err and b"Traceback" not in ran.err

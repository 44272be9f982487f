"""The command lines that workflow engines write for ``docker``, in the scripts around them.

Words and order are the engines' own; images, names and directories are the tests'. What each is to
have for it is looked at: files, exit codes, and what is left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.containers import ENGINES, PATIENCE, Home, Ran, shell_layer
from tests.docker import Shims

BASH = b'#!/bin/sh\nexec /bin/sh "$@"\n'


@pytest.fixture(scope="session")
def shims(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Shims:
    layer = shell_layer().file("bin/bash", BASH, 0o755).bytes()
    home.add("quay.io/tools/bash:1", layer, {"Cmd": ["sh"]})
    return Shims(home, tmp_path_factory.mktemp("callers"))


def environment(shims: Shims, more: Mapping[str, str]) -> dict[str, str]:
    path = f"{shims.place}:{shims.environment['PATH']}"
    return {**shims.environment, "IMG": "quay.io/tools/bash:1", **more, "PATH": path}


def script(shims: Shims, text: str, cwd: Path, **variables: str) -> Ran:
    """Run a shell script with our docker first on PATH."""
    done = subprocess.run(
        ["bash", "-c", text],
        env=environment(shims, variables),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


NEXTFLOW = """
on_exit() { code=$?; printf -- $code > .exitcode; docker rm $NXF_BOXID &> /dev/null || true; }
on_term() { docker stop $NXF_BOXID; wait $pid; }
trap on_exit EXIT
trap on_term TERM INT USR2
docker run -i --cpu-shares 1024 --memory 100m -e "NXF_TASK_WORKDIR" -e "NXF_DEBUG=${NXF_DEBUG:=0}" \
    -v "$NXF_TASK_WORKDIR":"$NXF_TASK_WORKDIR" -w "$NXF_TASK_WORKDIR" --name $NXF_BOXID $IMG \
    /bin/bash -ue .command.sh &
pid=$!
wait $pid
"""


def nextflow(shims: Shims, place: Path, command: str) -> subprocess.Popen[bytes]:
    (place / ".command.sh").write_text(command)
    variables = {"NXF_TASK_WORKDIR": str(place), "NXF_BOXID": f"nxf-{place.name}"}
    return subprocess.Popen(
        ["bash", "-c", NEXTFLOW],
        env=environment(shims, variables),
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def containers(shims: Shims, name: str) -> str:
    return shims.docker("ps", "-a", "--filter", f"name={name}", "--format", "{{.Names}}").text


def test_nextflow_runs_a_task_and_removes_it(shims: Shims, tmp_path: Path) -> None:
    process = nextflow(shims, tmp_path, "pwd; echo made > made; exit 4")
    assert process.communicate(timeout=PATIENCE)[0] == f"{tmp_path}\n".encode()
    assert (tmp_path / ".exitcode").read_text() == "4"
    assert (tmp_path / "made").read_text() == "made\n"
    assert containers(shims, f"nxf-{tmp_path.name}") == ""


def test_nextflow_stops_a_task(shims: Shims, tmp_path: Path) -> None:
    process = nextflow(shims, tmp_path, "echo ready; sleep 99; echo survived > survived")
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert (tmp_path / ".exitcode").read_text() != "0"
    assert not (tmp_path / "survived").exists()
    assert containers(shims, f"nxf-{tmp_path.name}") == ""


def test_nextflow_sends_the_signal_of_its_settings(shims: Shims) -> None:
    process = shims.start_ready("trap 'exit 3' INT; echo ready; sleep 99 & wait", "--name", "nxf-s")
    assert shims.docker("kill", "-s", "INT", "nxf-s").text == "nxf-s\n"
    assert process.wait(PATIENCE) == 3
    assert shims.docker("rm", "nxf-s").text == "nxf-s\n"


CROMWELL = """
rm -f docker_cid
docker run --cidfile docker_cid -i --entrypoint /bin/bash -v $PWD:/cromwell-executions:delegated \
    $IMG /cromwell-executions/script
rc=$(docker wait `cat docker_cid`)
docker rm `cat docker_cid`
exit $rc
"""


@pytest.mark.parametrize("code", [0, 5])
def test_cromwell_runs_a_script_and_asks_how_it_ended(
    shims: Shims, tmp_path: Path, code: int
) -> None:
    (tmp_path / "script").write_text(f"echo in $0 > out; mv out $(dirname $0)/; exit {code}\n")
    ran = script(shims, CROMWELL, tmp_path)
    cid = (tmp_path / "docker_cid").read_text()
    assert (ran.code, ran.out) == (code, f"{cid}\n".encode()), ran
    assert (tmp_path / "out").read_text() == "in /cromwell-executions/script\n"
    assert shims.docker("ps", "-aq", "--no-trunc", "--filter", f"id={cid}").text == ""


def test_cromwell_kills_a_script(shims: Shims, tmp_path: Path) -> None:
    cidfile = str(tmp_path / "docker_cid")
    process = shims.start_ready("echo ready; sleep 99", "--cidfile", cidfile, "-i")
    assert script(shims, "docker kill `cat docker_cid`", tmp_path).code == 0
    assert process.wait(PATIENCE) == 137


def test_cromwell_feeds_a_shell_by_standard_input(shims: Shims, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("echo $PWD > /data/where\n")
    line = "docker run --rm -v $PWD:/data -i $IMG /bin/bash < script"
    assert script(shims, line, tmp_path).code == 0
    assert (tmp_path / "where").read_text() == "/\n"


GALAXY_RUN = """
(docker inspect $IMG > /dev/null 2>&1 || docker pull $IMG > /dev/null) &&
docker run -e "GALAXY_SLOTS=$GALAXY_SLOTS" -e "HOME=$HOME" -e "GALAXY_MEMORY_MB=$GALAXY_MEMORY_MB" \
    --name $NAME -v $PWD/inputs:$PWD/inputs:ro -v $PWD:$PWD:rw -m ${GALAXY_MEMORY_MB}M \
    --cpus ${GALAXY_SLOTS:-1} -w $PWD --net none --rm --user $(id -u):$(id -g) $IMG \
    sh $PWD/tool_script.sh > out 2> err
"""


def test_galaxy_runs_a_tool_as_its_user_with_read_only_inputs(shims: Shims, tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    (tmp_path / "tool_script.sh").write_text(
        "echo $GALAXY_SLOTS $(id -u):$(id -g) $(pwd); touch inputs/new; ip -o link | wc -l\n"
    )
    variables = {"GALAXY_SLOTS": "1", "GALAXY_MEMORY_MB": "200", "NAME": "galaxy-1"}
    ran = script(shims, GALAXY_RUN, tmp_path, **variables)
    assert ran.out == b"" and ran.code == 0, ((tmp_path / "err").read_text(), ran)
    first, links = (tmp_path / "out").read_text().splitlines()
    assert first == f"1 {os.getuid()}:{os.getgid()} {tmp_path}"
    assert links == "1", "loopback alone"
    assert os.listdir(tmp_path / "inputs") == []
    assert containers(shims, "galaxy-1") == ""


def test_galaxy_kills_by_name_and_reads_lists(shims: Shims, tmp_path: Path) -> None:
    process = shims.start_ready("echo ready; sleep 99", "--rm", "--name", "galaxy-2")
    assert script(shims, "docker kill galaxy-2 &> /dev/null", tmp_path).code == 0
    assert process.wait(PATIENCE) == 137
    listed = script(shims, "docker images --no-trunc --format json", tmp_path).text
    rows = [json.loads(line) for line in listed.splitlines()]
    (row,) = (row for row in rows if row["Repository"] == "quay.io/tools/bash")
    assert row["Tag"] == "1" and row["ID"].startswith("sha256:")


@pytest.mark.parametrize("engine", ENGINES)
def test_streamflow_keeps_a_container_and_works_in_it(
    home: Home, shims: Shims, tmp_path: Path, engine: str
) -> None:
    here = Shims(home, tmp_path / "shims", engine)
    work = tmp_path / "work"
    work.mkdir()
    assert script(here, "which docker", tmp_path).text == f"{here.place / 'docker'}\n"
    version = script(here, "docker version --format '{{.Client.Version}}'", tmp_path).text
    assert tuple(map(int, version.split("."))) > (20, 10)
    assert script(here, "docker image inspect $IMG > /dev/null", tmp_path).text == ""
    run = (
        "docker run --detach --interactive --sig-proxy=true --log-driver=none --rm --init "
        f"--mount type=bind,source={work},target=/work --network none $IMG"
    )
    cid = script(here, run, tmp_path).text.strip()
    assert len(cid) == 64
    try:
        found = json.loads(script(here, f"docker inspect --format '{{{{json .}}}}' {cid}",
                                  tmp_path).text)  # fmt: skip
        assert found["Mounts"][0]["Source"] == str(work) and found["State"]["Running"]
        assert found["Mounts"][0]["Destination"] == "/work" and found["NetworkSettings"]["Networks"]
        ran = script(here, f"docker exec {cid} sh -c 'cd /work && echo done > file; exit 6'",
                     tmp_path)  # fmt: skip
        assert ran.code == 6 and (work / "file").read_text() == "done\n"
        fed = script(here, f"echo fed | docker exec -i {cid} sh -c 'cat > /work/fed'", tmp_path)
        assert fed.code == 0 and (work / "fed").read_text() == "fed\n"
    finally:
        assert script(here, f"docker stop {cid}", tmp_path).text == f"{cid}\n"
    assert here.docker("inspect", cid).code == 1, "--rm has it forgotten"


def test_miniwdl_runs_a_task_by_podman(shims: Shims, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "command").write_text("pwd; echo made > made; echo hurt >&2; exit 7\n")
    line = (
        "podman run --rm --workdir /mnt/miniwdl_task_container/work --cpus 1 --memory 268435456 "
        "-v $PWD/command:/mnt/miniwdl_task_container/command:ro "
        "-v $PWD/work:/mnt/miniwdl_task_container/work $IMG /bin/sh -c "
        "'/bin/sh ../command >> stdout.txt 2>> stderr.txt'"
    )
    assert script(shims, line, tmp_path).code == 7
    assert (tmp_path / "work" / "stdout.txt").read_text() == "/mnt/miniwdl_task_container/work\n"
    assert (tmp_path / "work" / "stderr.txt").read_text() == "hurt\n"
    assert (tmp_path / "work" / "made").exists()


def test_miniwdl_terminates_by_a_signal_each_second(shims: Shims) -> None:
    process = shims.start_ready("trap '' TERM; echo ready; sleep 99", "--rm", "--stop-timeout", "0")
    while process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            continue
    assert process.returncode == 137


def test_arvados_copies_an_image_by_its_id(shims: Shims, tmp_path: Path) -> None:
    text = (
        "docker images --no-trunc | grep quay.io/tools/bash > row && read -r _ _ hash _ < row && "
        "docker inspect --format={{.Id}} $hash > id && docker save $hash > saved && echo $hash"
    )
    ran = script(shims, text, tmp_path)
    assert ran.text.startswith("sha256:") and (tmp_path / "id").read_text() == ran.text
    with tarfile.open(tmp_path / "saved") as tar:
        assert "manifest.json" in tar.getnames()


def test_cwltool_and_toil_look_before_they_fetch(shims: Shims, tmp_path: Path) -> None:
    text = (
        "docker images -q node:alpine; docker images --quiet $IMG; docker images --no-trunc --all"
    )
    lines = script(shims, text, tmp_path).text.splitlines()
    (header,) = [number for number, line in enumerate(lines) if line.startswith("REPOSITORY")]
    assert {len(identifier) for identifier in lines[:header]} == {12}
    entry = script(shims, "docker inspect -f '{{json .Config}}' $IMG", tmp_path).text
    assert json.loads(entry)["Cmd"] == ["sh"]
    kind = "docker inspect --type=image --format='{{.Id}} {{len .RootFS.Layers}}' $IMG"
    assert script(shims, kind, tmp_path).text.split()[1] == "1"

"""What workflow engines say to ``docker``, word for word, and what they must get for it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from cwl_userspace.cli.run_options import OPTIONS
from cwl_userspace.shims.docker_run import IGNORED
from tests.containers import ENGINES, PATIENCE, Home, Tar, docker_archive, shell_layer
from tests.docker import Shims

FINISHED = "r1cepzbhUTxtykz5XTC4"  # what cwl-utils' JavaScript engine ends each answer with


@pytest.fixture(scope="session")
def shims(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Shims:
    return Shims(home, tmp_path_factory.mktemp("shims"))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def cwltool_words(outdir: Path, source: Path, *more: str) -> list[str]:
    """The options of ``docker run`` as cwltool writes them; the outputs go to /out."""
    quoted = f'"source={source}"' if "," in str(source) else f"source={source}"
    return [
        *("run", "-i", *more),
        f"--mount=type=bind,source={outdir},target=/out",
        f"--mount=type=bind,source={outdir},target=/tmp",
        f"--mount=type=bind,{quoted},target=/var/lib/cwl/stg1/in.txt,readonly",
        *("--workdir=/out", "--read-only=true", "--net=none", "--log-driver=none"),
        f"--user={os.getuid()}:{os.getgid()}",
        *("--rm", f"--cidfile={outdir}.cid", "--env=TMPDIR=/tmp", "--env=HOME=/out"),
        *("--memory=256m", "--cpus=1", "--shm-size=64m"),
    ]


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_cwltool_runs_a_tool(home: Home, tmp_path: Path, engine: str, name: str) -> None:
    shims = Shims(home, tmp_path / "shims", engine)
    outdir, source = tmp_path / "out", tmp_path / "a, b.txt"
    outdir.mkdir()
    source.write_text("input\n")
    words = cwltool_words(outdir, source, *(["--userns=keep-id"] if name == "podman" else []))
    script = "cat /var/lib/cwl/stg1/in.txt - > found; touch /forbidden; id -u; pwd; exit 3"
    ran = shims.docker(*words, "busybox", "sh", "-c", script, stdin=b"stdin\n", name=name)
    assert (ran.code, ran.out) == (3, f"{os.getuid()}\n/out\n".encode())
    assert (outdir / "found").read_text() == "input\nstdin\n"
    assert len(Path(f"{outdir}.cid").read_text()) == 64


def test_cwltool_looks_for_an_image(shims: Shims) -> None:
    missing = shims.docker("inspect", "no/such:1")
    assert missing.code == 1 and json.loads(missing.out) == []
    (found,) = json.loads(shims.docker("inspect", "busybox").text)
    assert found["Id"].startswith("sha256:") and found["RepoTags"] == ["busybox:latest"]
    identifier = shims.docker("inspect", "--format={{.Id}}", "busybox").text.strip()
    assert identifier == found["Id"]
    assert shims.docker("inspect", "-f", "{{.Id}}", identifier).text.strip() == identifier
    assert json.loads(shims.docker("image", "inspect", "busybox").text)[0]["Id"] == identifier


def test_cwltool_gets_images_of_every_kind(shims: Shims, tmp_path: Path) -> None:
    layer = shell_layer().bytes()
    archive = docker_archive(tmp_path / "saved.tar", "loaded:1", layer, {"Cmd": ["true"]})
    with archive.open("rb") as file:
        assert shims.docker("load", stdin=file.fileno()).text == "Loaded image: loaded:1\n"
    (tmp_path / "root.tar").write_bytes(layer)
    assert shims.docker("import", tmp_path / "root.tar", "imported").text.startswith("sha256:")
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text("FROM busybox\nENV BUILT=yes\n")
    built = shims.docker("build", "--tag=built", tmp_path / "context")
    assert built.code == 0, built
    for name in ("loaded:1", "imported", "built"):
        assert shims.docker("images", "--quiet", name).text != ""
        assert shims.docker("run", "--rm", name, "true").text == ""


def test_toil_takes_the_entrypoint_apart(shims: Shims) -> None:
    config = json.loads(shims.docker("inspect", "-f", "{{json .Config}}", "configured").text)
    assert config["Entrypoint"] == ["/bin/printf", "%s|"] and config["Cmd"] == ["from", "cmd"]
    plain = json.loads(shims.docker("inspect", "-f", "{{json .Config}}", "busybox").text)
    assert plain["Entrypoint"] is None
    words = ["--user=0:0", "--env=HOME=/out", "--entrypoint", "", "configured"]
    script = "(while true; do sleep 1; done) & echo $0 $1"
    ran = shims.docker("run", "-i", "--rm", *words, "sh", "-c", script, "first", "second")
    assert ran.text == "first second\n"


def test_cromwell_learns_the_exit_code_from_wait(shims: Shims, tmp_path: Path) -> None:
    cidfile, cwd = tmp_path / "cid", f"{tmp_path}:/cromwell:delegated"
    (tmp_path / "script").write_text("echo from the script; exit 7\n")
    words = ["--cidfile", str(cidfile), "-i", "--entrypoint", "/bin/sh", "-v", cwd]
    ran = shims.docker("run", *words, "busybox", "/cromwell/script")
    assert (ran.code, ran.out) == (7, b"from the script\n")
    cid = cidfile.read_text()
    assert shims.docker("wait", cid).text == "7\n"
    assert shims.docker("rm", cid).text == f"{cid}\n"
    gone = shims.docker("wait", cid)
    assert gone.code == 1 and "no container" in gone.complaint


def test_wait_lasts_as_long_as_the_container(shims: Shims) -> None:
    process = shims.start_ready("trap 'exit 9' TERM; echo ready; sleep 99 & wait", "--name", "long")
    waiting = shims.start("wait", "long")
    again = shims.docker("run", "--name", "long", "busybox", "true")
    assert again.code == 125 and "'long' is taken" in again.complaint
    assert shims.docker("kill", "-s", "TERM", "long").text == "long\n"
    # Who started it need not have looked after it yet.
    assert waiting.communicate(timeout=PATIENCE)[0] == b"9\n"
    assert process.wait(PATIENCE) == 9
    assert shims.docker("rm", "long").code == 0


def test_nextflow_stops_and_removes_by_name(shims: Shims) -> None:
    process = shims.start_ready("trap '' TERM; echo ready; sleep 99", "-i", "--name", "nxf-1")
    refused = shims.docker("rm", "nxf-1")
    assert refused.code == 1 and "runs" in refused.complaint
    assert shims.docker("stop", "-t", "0", "nxf-1").text == "nxf-1\n"
    assert process.wait(PATIENCE) == 137
    assert shims.docker("rm", "nxf-1").text == "nxf-1\n"
    assert shims.docker("rm", "-f", "nxf-1").code == 0
    assert shims.docker("rm", "nxf-1").code == 1


def test_a_container_that_was_to_be_removed_leaves_nothing_to_wait_for(shims: Shims) -> None:
    assert shims.docker("run", "--rm", "--name", "brief", "busybox", "false").code == 1
    assert shims.docker("wait", "brief").code == 1


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_the_memory_is_told_until_the_container_ends(
    shims: Shims, tmp_path: Path, name: str
) -> None:
    cidfile = tmp_path / "cid"
    process = shims.start_ready("echo ready; sleep 99", "--rm", f"--cidfile={cidfile}")
    words = ["--format", "{{.MemPerc}}", cidfile.read_text()]
    stats = subprocess.Popen(
        [shims.place / name, "stats", *(["--no-trunc"] if name == "docker" else []), *words],
        env=shims.environment,
        stdout=subprocess.PIPE,
    )
    assert stats.stdout is not None
    assert stats.stdout.readline().endswith(b"%\n")
    assert shims.docker("kill", cidfile.read_text()).code == 0
    assert process.wait(PATIENCE) == 137 and stats.wait(PATIENCE) == 0


def test_galaxy_lists_images_as_json_lines_on_another_host(shims: Shims) -> None:
    listed = shims.docker("-H", "unix:///no/such", "images", "--no-trunc", "--format", "json").text
    rows = [json.loads(line) for line in listed.splitlines()]
    assert {"Repository", "Tag", "ID"} <= set(rows[0])
    assert "busybox" in {row["Repository"] for row in rows}


def test_arvados_reads_a_table_and_saves_by_id(shims: Shims) -> None:
    header, *rows = shims.docker("images", "--no-trunc", "--all").text.splitlines()
    assert header.split()[:4] == ["REPOSITORY", "TAG", "IMAGE", "ID"]
    (identifier,) = (row.split()[2] for row in rows if row.startswith("busybox "))
    saved = shims.docker("save", identifier)
    assert saved.code == 0 and identifier.startswith("sha256:")
    with tarfile.open(fileobj=io.BytesIO(saved.out)) as tar:
        assert "manifest.json" in tar.getnames()


def test_standard_input_is_read_only_with_i(shims: Shims) -> None:
    assert shims.docker("run", "--rm", "busybox", "cat", stdin=b"of a loop\n").text == ""
    assert shims.docker("run", "--rm", "-i", "busybox", "cat", stdin=b"given\n").text == "given\n"


def test_names_are_those_of_images(shims: Shims) -> None:
    """What a user has made by hand is none of a workflow engine's, whatever it is called."""
    created = shims.home.call("create", "--name", "busybox", "busybox", "true").text.strip()
    wrote = shims.home.call("run", "busybox", "sh", "-c", "touch /by-hand", environment={})
    assert wrote.code == 0, wrote
    try:
        assert shims.docker("run", "--rm", "busybox", "test", "-e", "/by-hand").code == 1
        assert "RepoTags" in json.loads(shims.docker("inspect", "busybox").text)[0]
        assert shims.docker("rm", "busybox").code == 1
        assert json.loads(shims.docker("inspect", created).text)[0]["Name"] == "/busybox"
    finally:
        assert shims.docker("rm", created).code == 0


def test_options_that_change_nothing_are_taken(shims: Shims) -> None:
    words = ["--security-opt", "no-new-privileges", "--ulimit=nofile=1024", "-l", "a=b", "-P"]
    more = ["--pids-limit", "9", "--net", "made-by-an-admin", "--init", "--pull=missing"]
    assert shims.docker("run", "--rm", *words, *more, "busybox", "echo", "done").text == "done\n"
    log = (shims.home.place / "state" / "cwl-userspace" / "log").read_text()
    assert "--ulimit has no effect here" in log and "'made-by-an-admin' is the host's" in log


def test_nothing_that_run_can_do_is_ignored() -> None:
    done = {spelling for option in OPTIONS for spelling in option.spellings}
    ignored = {spelling for option in IGNORED for spelling in option.spellings}
    assert done & ignored == set()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--tmpfs", "/x", "busybox"], "leave the option out"),
        (["run", "--volumes-from", "other", "busybox"], "no container 'other'"),
        (["run", "--pull=often", "busybox"], "expected one of missing"),
        (["run", "--pull=never", "no/such:1"], "no/such:1"),
        (["container", "prune"], "give --force"),
        (["start", "nobody"], "no container 'nobody'"),
        (["top", "nobody"], "no container 'nobody'"),
        (["run", "--net=container:other", "busybox"], "no network"),
        (["run", "--no-such", "busybox"], "no option --no-such"),
        (["run"], "needs an image"),
        (["exec", "some", "true"], "no container 'some'"),
        (["swarm"], "known are build, cp, create, exec"),
        (["image", "squash"], "expected one of"),
        (["image_prune"], "is not known here"),
        (["image", "push", "x"], "skopeo"),
        (["volume", "create", "v"], "give a directory with --volume"),
        (["network", "create", "n"], "--net none"),
        (["image", "prune"], "give --force"),
        (["wait"], "needs a container"),
        (["stop", "nobody"], "no container 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    shims: Shims, words: list[str], said: str
) -> None:
    refused = shims.docker(*words)
    assert refused.code in (1, 125) and said in refused.complaint


def test_info_is_about_this_host_and_fails_without_an_engine(home: Home, tmp_path: Path) -> None:
    shims = Shims(home, tmp_path / "shims")
    facts = json.loads(shims.docker("info", "--format", "{{json .}}").text)
    assert facts["NCPU"] == os.cpu_count() and facts["DockerRootDir"] == str(home.place / "store")
    assert "graphRoot" in shims.podman("info").text
    broken = {**shims.environment, "CWL_USERSPACE_ENGINE": "nonsense"}
    assert shims.docker("info", environment=broken).code == 125


def test_sub_words_are_the_words(shims: Shims, tmp_path: Path) -> None:
    assert shims.docker("image", "tag", "busybox", "grouped/name:2").text == ""
    listed = shims.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "grouped/name")
    assert listed.text == "grouped/name:2\n"
    assert shims.docker("image", "rm", "grouped/name:2").text.startswith("Untagged: grouped/name:2")
    assert shims.docker("container", "ls", "-q").code == 0
    refused = shims.docker("container", "cp", "nobody:/etc", tmp_path)
    assert refused.code == 1 and "no container 'nobody'" in refused.complaint


def test_a_created_container_is_started_with_all_that_it_was_told(
    shims: Shims, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "input").write_text("copied\n")
    words = "--name made -w /work --net=none -l kind=test -i -e WORD=said".split()
    more = ("--cidfile", tmp_path / "cid", "-v", f"{tmp_path}/work:/work")
    script = "cat /input - > out; echo $WORD; ip -o link | wc -l; exit 5"
    made = shims.docker("create", *words, *more, "busybox", "sh", "-c", script).text.strip()
    assert (tmp_path / "cid").read_text() == made
    shown = (
        "{{.State.Status}} {{.Config.WorkingDir}} {{.HostConfig.NetworkMode}} {{.Config.Labels}}"
    )
    assert (
        shims.docker("inspect", "-f", shown, "made").text == "created /work none map[kind:test]\n"
    )
    assert shims.docker("cp", tmp_path / "input", "made:/").text == ""
    try:
        ran = shims.docker("start", "-a", "-i", "made", stdin=b"fed\n")
        assert (ran.code, ran.out, ran.err) == (5, b"said\n1\n", b"")
        assert (tmp_path / "work" / "out").read_text() == "copied\nfed\n"
        assert shims.docker("wait", "made").text == "5\n"
        listed = shims.docker("ps", "--filter", "label=kind=test", "--filter", "exited=5", "-q")
        assert listed.text == f"{made[:12]}\n"
        assert shims.docker("start", "made").text == "made\n", "detached, its input open"
        assert shims.docker("ps", "--filter", "status=running", "--format", "{{.Names}}",
                            "--filter", "name=^made$").text == "made\n"  # fmt: skip
        header, *rows = shims.docker("top", "made").text.splitlines()
        assert header.split()[:2] == ["UID", "PID"] and any("sh -c" in row for row in rows)
        assert shims.docker("stop", "-t", "0", "made").text == "made\n"
        assert shims.docker("rename", "made", "renamed").code == 0
        assert shims.docker("run", "--rm", "--volumes-from", "renamed:ro", "busybox", "sh", "-c",
                            "cat /work/out; touch /work/new").code == 1  # fmt: skip
        assert not (tmp_path / "work" / "new").exists()
    finally:
        assert shims.docker("rm", "-f", made).code == 0
    assert shims.docker("ps", "-aq", "--filter", "label=kind").text == ""


def test_what_has_ended_is_listed_until_it_is_pruned(home: Home, tmp_path: Path) -> None:
    own = Home(tmp_path)
    shims = Shims(own, tmp_path / "shims")
    own.add("busybox", shell_layer().bytes())
    for end, name in ((0, "good"), (3, "bad")):
        assert shims.docker("run", "--name", name, "busybox", "sh", "-c", f"exit {end}").code == end
    names = ("--format", "{{.Names}} {{.State}}")
    assert shims.docker("ps", *names).text == ""
    assert shims.docker("ps", "-a", *names).text == "good exited\nbad exited\n"
    assert shims.docker("ps", "-l", *names).text == "bad exited\n"
    assert shims.docker("ps", *names, "--filter", "status=exited", "--filter", "ancestor=busybox",
                        "--filter", "since=good").text == "bad exited\n"  # fmt: skip
    code = "{{.State.ExitCode}} {{index .Args 1}} {{.Config.Image}}"
    assert shims.docker("inspect", "-f", code, "bad").text == "3 exit 3 busybox\n"
    gone = shims.docker("cp", "bad:/etc/passwd", "-")
    assert gone.code == 1 and "has ended" in gone.complaint
    made = shims.docker("create", "busybox").text.strip()
    assert shims.docker("container", "prune", "-f").text.count("\n") == 3
    assert shims.docker("ps", "-aq", "--no-trunc").text == f"{made}\n"


def test_a_host_is_told_of_in_dockers_tables(shims: Shims) -> None:
    header, *rows = shims.docker("system", "df").text.splitlines()
    assert header.split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert [row.split()[0] for row in rows] == ["Images", "Containers", "Local", "Build"]
    count = shims.docker("system", "df", "--format", "{{.Type}} {{.TotalCount}}").text
    assert (
        count.splitlines()[0] == f"Images {shims.docker('info', '-f', '{{.Images}}').text}".strip()
    )
    assert shims.docker("network", "ls", "--format", "{{.Name}}").text == "bridge\nhost\nnone\n"
    assert shims.docker("network", "ls", "-q", "--filter", "name=none").text.count("\n") == 1
    assert shims.docker("volume", "ls").text == "DRIVER   VOLUME NAME\n"
    assert shims.docker("volume", "ls", "-q").text == ""


def test_images_without_a_name_are_pruned(home: Home, tmp_path: Path) -> None:
    own = Home(Path(tmp_path))
    shims = Shims(own, tmp_path / "shims")
    own.add("first", Tar().file("a", b"1").bytes())
    own.add("first", Tar().file("a", b"2").bytes())
    assert len(shims.docker("images", "-q", "-f", "dangling=true").text.splitlines()) == 1
    assert "freed" in shims.docker("image", "prune", "-f").text
    assert shims.docker("images", "-q").text.count("\n") == 1
    shims.docker("image", "prune", "-f", "-a", "--filter", "until=1h")
    assert shims.docker("images", "-q").text.count("\n") == 1
    shims.docker("image", "prune", "-f", "-a")
    assert shims.docker("images", "-q").text == ""


def test_cwltool_without_node_evaluates_javascript_in_a_container(
    shims: Shims, tmp_path: Path
) -> None:
    """Stock cwltool, with nothing but our ``docker`` on PATH; the image's node answers for all."""
    answer = f"""echo '{{"out": 42}}'; echo {FINISHED}; echo {FINISHED} >&2"""
    node = f"#!/bin/sh\nwhile read line; do {answer}; done\n"
    layer = shell_layer().file("bin/node", node.encode(), 0o755).bytes()
    shims.home.add("node:alpine", layer)
    tool = {
        "cwlVersion": "v1.2",
        "class": "ExpressionTool",
        "requirements": {"InlineJavascriptRequirement": {}},
        "inputs": {},
        "outputs": {"out": "int"},
        "expression": "${ return 6 * 7; }",
    }
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    cwltool = Path(sys.executable).with_name("cwltool")
    done = subprocess.run(
        [sys.executable, cwltool, "--disable-js-validation", tmp_path / "tool.cwl"],
        env={**shims.environment, "PATH": str(shims.place)},
        capture_output=True,
        timeout=100,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done
    assert json.loads(done.stdout) == {"out": 42}

"""What workflow engines say to ``singularity``, word for word, and what they must get for it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cwl_userspace.shims.singularity_options import REFUSED
from tests.containers import ENGINES, PATIENCE, UNCOUNTED, Home, all_gone, marker, waiting
from tests.singularity import FAILED, Singularity


@pytest.fixture(scope="module")
def singularity(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Singularity:
    return Singularity(home, tmp_path_factory.mktemp("shims"))


@pytest.fixture(scope="module")
def image(singularity: Singularity, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that was made of an image without an entrypoint."""
    place = tmp_path_factory.mktemp("images") / "busy box:1.sif"
    assert singularity("build", place, "docker://busybox", cwd=place.parent).text == ""
    return place


@pytest.fixture(scope="module")
def configured(singularity: Singularity, image: Path) -> Path:
    """A file that was made of an image with variables, an entrypoint and a user."""
    place = image.with_name("configured.sif")
    assert singularity("build", place, "docker://configured", cwd=place.parent).text == ""
    return place


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, singularity: Singularity, tmp_path: Path) -> Singularity:
    return Singularity(singularity.home, tmp_path / "shims", request.param)


@pytest.mark.once
def test_callers_can_read_the_version(singularity: Singularity, tmp_path: Path) -> None:
    for name, flavour in (("singularity", "singularity-ce"), ("apptainer", "apptainer")):
        said = singularity("--version", cwd=tmp_path, name=name, environment={}).text
        found = re.fullmatch(r"(.+) version ([0-9.]+)\n", said)
        assert found is not None and found.group(1) == flavour
        assert singularity("version", cwd=tmp_path, name=name).text == f"{found.group(2)}\n"


def test_cwltool_runs_a_tool(engine: Singularity, image: Path, tmp_path: Path) -> None:
    outdir, tmpdir, source = (tmp_path / name for name in ("out", "tmp", "a, b:c.txt"))
    outdir.mkdir()
    tmpdir.mkdir()
    source.write_text("input\n")
    words = [
        *("--quiet", "run", "--contain", "--ipc", "--cleanenv", "--no-eval", "--userns"),
        *("--home", f"{outdir}:/XYZabc"),
        f"--mount=type=bind,source={tmpdir},target=/tmp",
        f'--mount=type=bind,"source={source}",target=/var/lib/cwl/stg1/in.txt,readonly',
        *("--pwd", "/XYZabc", "--net", "--network", "none"),
    ]
    script = "cat /var/lib/cwl/stg1/in.txt - > found; touch /forbidden; echo $A; id -u; pwd; exit 3"
    variables = {"SINGULARITYENV_A": "`b`$(c)", "SINGULARITYENV_TMPDIR": "/tmp"}
    ran = engine(*words, image, "sh", "-c", script, cwd=outdir, stdin=b"stdin\n", more=variables)
    assert (ran.code, ran.out) == (3, f"`b`$(c)\n{os.getuid()}\n/XYZabc\n".encode())
    assert (outdir / "found").read_text() == "input\nstdin\n"
    assert "forbidden" in ran.err.decode()


def test_cwltool_sees_that_containers_can_be_run(engine: Singularity, image: Path) -> None:
    """It runs a program that its image does not have, and looks for these words."""
    ran = engine("exec", "--userns", image, "no-such-program", cwd=image.parent)
    assert ran.code == 127 and "executable file not found in" in ran.complaint


def test_a_clean_environment_has_what_singularity_gives_it(
    singularity: Singularity, image: Path, tmp_path: Path
) -> None:
    """cwltool's own tests hold these names against what they get."""
    given = {"HOST": "x", "SINGULARITYENV_HOME": "/no", "TERM": "dumb", "SINGULARITYENV_A": "1"}
    words = ["--contain", "--cleanenv", "--no-eval", "--home", f"{tmp_path}:/home/x"]
    ran = singularity("run", *words, image, "env", cwd=tmp_path, more={**given, **UNCOUNTED})
    found = dict(line.partition("=")[::2] for line in ran.text.splitlines() if "=" in line)
    assert found.pop("SINGULARITY_NAME") == image.name
    assert found.pop("SINGULARITY_CONTAINER") == str(image)
    for name in ("LD_LIBRARY_PATH", "PS1", "PROMPT_COMMAND", "SINGULARITY_ENVIRONMENT", "PATH"):
        del found[name]
    assert found == {
        "A": "1",
        "HOME": "/home/x",
        "LANG": "C",
        "TERM": "dumb",
        "SINGULARITY_COMMAND": "run",
        "SINGULARITY_BIND": "",
        "SINGULARITY_NO_EVAL": "1",
    }


NEXTFLOW_PULL = """
cd images &&
singularity pull --nohttps --name busybox.img.pulling.123 docker://busybox > /dev/null &&
mv busybox.img.pulling.123 busybox.img
"""
# $ACCOUNT stands for where an account has its directories: nothing else has a variable.
NEXTFLOW_RUN = """
set +u; env - $ACCOUNT PATH="$PATH" ${TMP:+SINGULARITYENV_TMP="$TMP"} \
    ${TMPDIR:+SINGULARITYENV_TMPDIR="$TMPDIR"} \
    ${NXF_TASK_WORKDIR:+SINGULARITYENV_NXF_TASK_WORKDIR="$NXF_TASK_WORKDIR"} \
    SINGULARITYENV_NXF_DEBUG="${NXF_DEBUG:=0}" \
    singularity exec --no-home --pid -B "$NXF_TASK_WORKDIR" -B /usr:/opt/usr:ro images/busybox.img \
    /bin/sh -c "cd $NXF_TASK_WORKDIR; /bin/sh -ue .command.sh" > .command.out 2> .command.err
"""


def nextflow(engine: Singularity, place: Path, script: str) -> subprocess.Popen[bytes]:
    """A shell script of Nextflow's, with our executable first on PATH."""
    names = ("CWL_USERSPACE_HOME", "CWL_USERSPACE_ENGINE")
    account = [f"{name}={engine.environment[name]}" for name in names]
    account += [f"{k}={v}" for k, v in engine.environment.items() if k.startswith("XDG_")]
    environment = {
        **engine.environment,
        "ACCOUNT": " ".join(account),
        "CWL_USERSPACE_OFFLINE": "1",
        "NXF_TASK_WORKDIR": str(place),
        "PATH": f"{engine.place}:{engine.environment['PATH']}",
        "TMP": "/t",
    }
    words = ["bash", "-c", script]
    return subprocess.Popen(words, env=environment, cwd=place, start_new_session=True)


def test_nextflow_pulls_and_runs_a_task(engine: Singularity, image: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    task = "echo $TMP $NXF_DEBUG $NXF_TASK_WORKDIR; pwd; echo made > made; touch /opt/usr/x"
    (tmp_path / ".command.sh").write_text(task)
    assert nextflow(engine, tmp_path, NEXTFLOW_PULL).wait(PATIENCE) == 0
    assert nextflow(engine, tmp_path, NEXTFLOW_RUN).wait(PATIENCE) == 1
    said = (tmp_path / ".command.out").read_text()
    assert said == f"/t 0 {tmp_path}\n{tmp_path}\n"
    assert "/opt/usr/x" in (tmp_path / ".command.err").read_text()
    assert (tmp_path / "made").read_text() == "made\n"


def test_nextflow_kills_a_task(engine: Singularity, image: Path, tmp_path: Path) -> None:
    """It sends SIGTERM to each process below its own, those nearest to it first."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "busybox.img").symlink_to(image)
    word = marker()
    (tmp_path / ".command.sh").write_text(f"touch started; sleep 98765; : {word}")
    process = nextflow(engine, tmp_path, f"{NEXTFLOW_RUN}: {word}")
    assert any((tmp_path / "started").exists() for _ in waiting(PATIENCE))
    for pid in [process.pid, *descendants(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    assert process.wait(PATIENCE) == -signal.SIGTERM
    assert all_gone(str(tmp_path), PATIENCE)


def descendants(top: int) -> list[int]:
    """All processes below one, those nearest to it first."""
    children: dict[int, list[int]] = {}
    for line in subprocess.check_output(["ps", "-e", "-o", "pid=", "-o", "ppid="]).splitlines():
        pid, parent = map(int, line.split())
        children.setdefault(parent, []).append(pid)
    found = [top]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


def test_snakemake_runs_a_shell(singularity: Singularity, image: Path, tmp_path: Path) -> None:
    """In the working directory, which is the home, with the host's variables."""
    words = ["--quiet", "exec", "--home", str(tmp_path), "--bind", f"{tmp_path}:/mnt/x"]
    script = "pwd; echo $HOME $FROM_HOST; ls /mnt/x"
    (tmp_path / "Snakefile").touch()
    given = {"FROM_HOST": "yes"}
    ran = singularity(*words, image, "sh", "-c", script, cwd=tmp_path, more=given, name="apptainer")
    assert ran.text == f"{tmp_path}\n{tmp_path} yes\nSnakefile\n"


def test_galaxy_runs_a_job(singularity: Singularity, image: Path, tmp_path: Path) -> None:
    work = str(tmp_path)
    words = ["-s", "exec", "--contain", "--pwd", work, "--cleanenv", "--ipc", "--pid", "--no-mount"]
    words += ["tmp", "-B", f"{work}:{work}:rw", "--home", f"{work}:{work}"]
    given = {"SINGULARITYENV_GALAXY_SLOTS": "2"}
    ran = singularity(
        *words, image, "sh", "-c", "pwd; echo $GALAXY_SLOTS", cwd=tmp_path, more=given
    )
    assert ran.text == f"{work}\n2\n"


def test_miniwdl_is_root_inside(singularity: Singularity, image: Path, tmp_path: Path) -> None:
    words = ["exec", "--pwd", "/mnt/x", "--containall", "--no-mount", "hostfs", "--fakeroot"]
    words += ["--bind", f"{tmp_path}:/mnt/x"]
    script = "id -u; touch made >> out.txt 2>> err.txt"
    ran = singularity("--verbose", *words, image, "/bin/sh", "-c", script, cwd=tmp_path)
    assert ran.text == "0\n" and (tmp_path / "made").stat().st_uid == os.getuid()


def test_cromwell_names_an_image_by_its_place(singularity: Singularity, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("echo from the script; exit 7\n")
    words = ["exec", "--containall", "--bind", f"{tmp_path}:/cromwell", "docker://busybox"]
    ran = singularity(*words, "sh", "/cromwell/script", cwd=tmp_path)
    assert (ran.code, ran.out) == (7, b"from the script\n")


def test_run_takes_the_entrypoint_and_exec_does_not(
    singularity: Singularity, configured: Path, tmp_path: Path
) -> None:
    assert singularity("run", configured, cwd=tmp_path).text == "from|cmd|"
    assert singularity("run", configured, "given", cwd=tmp_path).text == "given|"
    said = singularity("exec", configured, "sh", "-c", "echo $FROM_IMAGE; id -u", cwd=tmp_path)
    assert said.out == f"is set\n{os.getuid()}\n".encode()  # not its USER


def test_the_hosts_variables_win_but_for_path(
    singularity: Singularity, configured: Path, tmp_path: Path
) -> None:
    given = {"FROM_IMAGE": "host", "SINGULARITYENV_PREPEND_PATH": "/p", "APPTAINERENV_X": "1"}
    words = ["--env", "Y=2,3,Z=4", "--env", "X=5"]
    script = "echo $FROM_IMAGE $PATH $X $Y $Z"
    said = singularity("exec", *words, configured, "sh", "-c", script, cwd=tmp_path, more=given)
    assert said.out == b"host /p:/data/bin:/bin 5 2,3 4\n"


def test_variables_stand_for_options(singularity: Singularity, image: Path, tmp_path: Path) -> None:
    given = {"SINGULARITY_BIND": f"{tmp_path}:/one", "APPTAINER_CONTAINALL": "1"}
    given["SINGULARITY_PWD"] = "/one"
    (tmp_path / "seen").touch()
    ran = singularity("exec", image, "sh", "-c", "ls /one; pwd; ls ~", cwd=tmp_path, more=given)
    assert ran.text == "seen\n/one\n"


def test_a_contained_home_and_a_scratch_directory_are_forgotten(
    engine: Singularity, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "of the host").touch()
    script = f"echo 1 > ~/f; echo 2 > /data/s/f; cat ~/f /data/s/f; ls -d '{tmp_path}/of the host'"
    script += " 2> /dev/null; true"
    words = ["exec", "--contain", "--scratch", "/data/s", str(image), "sh", "-c", script]
    assert engine(*words, cwd=tmp_path).text == "1\n2\n"
    assert not Path(engine.environment["HOME"], "f").exists()
    kept = tmp_path / "work"
    kept.mkdir()
    words[2:2] = ["--workdir", str(kept)]
    assert engine(*words, cwd=tmp_path).text == "1\n2\n"
    assert (kept / "home" / "f").read_text() == "1\n"
    assert (kept / "scratch" / "data" / "s" / "f").read_text() == "2\n"


def test_a_root_that_may_be_written_forgets(
    engine: Singularity, image: Path, tmp_path: Path
) -> None:
    script = "ls /etc/made || touch /etc/made; ls /etc/made"
    for _ in range(2):
        ran = engine("exec", "--writable-tmpfs", image, "sh", "-c", script, cwd=tmp_path)
        assert ran.out == b"/etc/made\n"


@pytest.mark.once
def test_what_cannot_be_done_is_refused_in_a_sentence(
    singularity: Singularity, image: Path, tmp_path: Path
) -> None:
    for verb in ("sign", "remote"):
        ran = singularity(verb, image, cwd=tmp_path)
        assert ran.code == FAILED and "is not known here" in ran.complaint
    for option, _ in REFUSED:
        ran = singularity("exec", option.spellings[-1], "x", image, "true", cwd=tmp_path)
        assert ran.code == FAILED and "cannot do what" in ran.complaint
    for place in ("library://a", "docker-daemon:a:1", "oras://ghcr.io/a:1", "unheard-of://a"):
        ran = singularity("exec", place, "true", cwd=tmp_path)
        assert ran.code == FAILED and "there are no images from" in ran.complaint
        ran = singularity("pull", "a.sif", place, cwd=tmp_path)
        assert ran.code == FAILED and not (tmp_path / "a.sif").exists()
    for words, complaint in (
        (("-B", "/no/x", image, "true"), "does not exist"),
        (("--app", "none", image, "true"), "no application 'none'"),
        (("--unheard-of", image, "true"), "no option --unheard-of"),
    ):
        ran = singularity("exec", *words, cwd=tmp_path)
        assert ran.code == FAILED and complaint in ran.complaint


@pytest.mark.once
def test_what_has_no_effect_is_said_in_the_log(
    singularity: Singularity, image: Path, tmp_path: Path
) -> None:
    """A tool that runs without it is what a workflow engine wants, and silence on its streams."""
    asked = {
        "--rocm": "--rocm has no effect: this host has no GPU of AMD's",
        "--net": "the network 'bridge' is the host's here; --network none is one of its own",
        "--network=bridge": "",
        "--add-caps=all": "--add-caps has no effect here",
        "--security=uid:1": "--security has no effect here",
        "--pids-limit=9": "--pids-limit has no effect here",
        "--dns=192.0.2.1": "--dns has no effect here",
        "--cpu-shares=9": "",
        "--uts": "",
        "--no-oci": "",
    }
    given = {"XDG_STATE_HOME": str(tmp_path)}
    assert singularity("exec", *asked, image, "true", cwd=tmp_path, more=given).text == ""
    log = (tmp_path / "cwl-userspace" / "log").read_text()
    assert [said for said in asked.values() if said not in log] == []


def test_a_container_ends_with_its_caller(
    singularity: Singularity, image: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        ["sh", "-c", '"$@" & wait', "sh", singularity.place / "singularity", "exec", image,
         "sh", "-c", "trap '' TERM; echo ready; sleep 98765 & wait; sleep 98765"],
        env=singularity.environment, cwd=tmp_path, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    begin = time.monotonic()
    process.kill()
    assert process.stdout.read() == b""
    process.wait(PATIENCE)
    assert time.monotonic() - begin < PATIENCE


def test_inspect_tells_what_an_image_says(
    singularity: Singularity, configured: Path, tmp_path: Path
) -> None:
    said = json.loads(singularity("inspect", "--json", "--all", configured, cwd=tmp_path).text)
    attributes = said["data"]["attributes"]
    assert said["type"] == "container" and "/bin/printf" in attributes["runscript"]
    assert "FROM_IMAGE='is set'" in "".join(attributes["environment"].values())

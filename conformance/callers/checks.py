"""Snakemake and miniwdl run workflows in containers of ours; ``check`` beside this runs it.

It is a file for pytest that stands alone: it is executed from a copy, as a user without rights.
Named by variables are the programs of the callers (``CALLERS_BIN``) and an image layout
(``CALLERS_IMAGES``).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATIENCE = 300
BACKENDS = ("singularity", "udocker", "podman")
# Who a task is, by what the caller asks for: miniwdl gives singularity --fakeroot, and udocker is
# always root; podman's words leave the user to be who he is.
USERS = {"singularity": 0, "udocker": 0, "podman": os.getuid()}
# miniwdl does not tell udocker that an input may only be read.
KNOWS_READ_ONLY = ("singularity", "podman")


class Caller:
    """A directory with the workflows, samples, and our executables first on PATH."""

    def __init__(self, place: Path, store: Path, engine: str) -> None:
        self.place = place
        self.started: list[subprocess.Popen[str]] = []
        for name in ("snakemake", "wdl"):
            shutil.copytree(HERE / name, place, dirs_exist_ok=True)
        (place / "samples").mkdir()
        (place / "samples" / "one.txt").write_text("a b c\n")
        (place / "samples" / "two.txt").write_text("d e\nf g\n")
        mirror = json.dumps(f"oci:{os.environ['CALLERS_IMAGES']}")
        (place / "config.yml").write_text(f"registries: {{docker.io: {{mirrors: [{mirror}]}}}}\n")
        names = ("apptainer", "singularity", "udocker", "podman")
        words = ["cwl-userspace", "shim", *names, "--dir", str(place / "shims")]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        self.environment = {
            **os.environ,
            "PATH": f"{place / 'shims'}:{os.environ['CALLERS_BIN']}:{os.environ['PATH']}",
            "CWL_USERSPACE_CONFIG": str(place / "config.yml"),
            "CWL_USERSPACE_HOME": str(store),
            "CWL_USERSPACE_ENGINE": engine,
            "MINIWDL__SCHEDULER__CONTAINER_BACKEND": "singularity",
            "MINIWDL__SINGULARITY__IMAGE_CACHE": str(store / "files-of-miniwdl"),
            "MINIWDL__PODMAN__EXE": '["podman"]',  # by default with sudo
            "MINIWDL__FILE_IO__CHOWN": "false",  # of what real podman leaves to other users
        }

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """A process group of its own, as a shell makes one."""
        process = subprocess.Popen(
            words,
            cwd=self.place,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *words: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(*words, **environment)
        said, complained = process.communicate(timeout=PATIENCE)
        return process.returncode, said, complained

    def snakemake(self, *targets: str) -> list[str]:
        files = f"{self.environment['CWL_USERSPACE_HOME']}/files-of-snakemake"
        return ["snakemake", "--cores=2", "--software-deployment-method=apptainer",
                "--apptainer-prefix", files, "--nocolor", "--show-failed-logs",
                *targets]  # fmt: skip


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(params=os.environ.get("CALLERS_ENGINES", "userns proot").split())
def caller(request: pytest.FixtureRequest, store: Path, tmp_path: Path) -> Iterator[Caller]:
    caller = Caller(tmp_path, store, request.param)
    yield caller
    for process in caller.started:  # of a test that has failed
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_snakemake_runs_shell_and_script_in_containers(caller: Caller) -> None:
    code, _, complained = caller.run(*caller.snakemake())
    assert code == 0, complained
    total, script, *notes = (caller.place / "total.txt").read_text().splitlines()
    assert total == "7"
    assert len(notes) == 2 and set(notes) == {notes[0]}
    *note, image, user = notes[0].split()
    assert note == ["it's", '"one"', "note"]
    # Which image was run: Snakemake names the files by their URLs' digests.
    other, script_user = script.split()
    assert image.endswith(".simg") and other.endswith(".simg") and image != other
    assert user == script_user == str(os.getuid())


def test_snakemake_removes_what_a_failed_rule_has_written(caller: Caller) -> None:
    code, _, complained = caller.run(*caller.snakemake("never.txt"))
    assert code == 1 and "Error in rule fails" in complained
    assert not (caller.place / "never.txt").exists()


@pytest.mark.parametrize("backend", BACKENDS)
def test_miniwdl_scatters_over_containers(caller: Caller, backend: str) -> None:
    words = ["run", "words.wdl", "samples=samples/one.txt", "samples=samples/two.txt"]
    code, said, complained = caller.run(
        "miniwdl", *words, MINIWDL__SCHEDULER__CONTAINER_BACKEND=backend
    )
    assert code == 0, complained
    outputs = json.loads(said)["outputs"]
    inside = f"/mnt/miniwdl_task_container/work, user {USERS[backend]}"
    assert outputs["words.places"] == [inside, inside]
    assert Path(outputs["words.sums"]).read_text() == "7\n"
    if backend in KNOWS_READ_ONLY:
        assert outputs["words.counts"] == [3, 4]
        assert (caller.place / "samples" / "one.txt").read_text() == "a b c\n"
    unowned = [path for path in caller.place.rglob("*") if path.lstat().st_uid != os.getuid()]
    assert not unowned


@pytest.mark.parametrize("backend", BACKENDS)
def test_miniwdl_learns_the_exit_code(caller: Caller, backend: str) -> None:
    words = ["miniwdl", "run", "--error-json", "fails.wdl"]
    code, said, _ = caller.run(*words, MINIWDL__SCHEDULER__CONTAINER_BACKEND=backend)
    cause = json.loads(said)["cause"]
    assert (code, cause["exit_status"]) == (7, 7)
    assert Path(cause["stderr_file"]).read_text() == "said before the end\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_miniwdl_ends_a_task(caller: Caller, backend: str) -> None:
    """By SIGTERM to the executable, once a second until it has ended."""
    mark = _mark()
    words = ["miniwdl", "run", "waits.wdl", f"mark={mark}"]
    process = caller.start(*words, MINIWDL__SCHEDULER__CONTAINER_BACKEND=backend)
    _wait_for(mark, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert any(not _named(mark) for _ in _moments())


def test_snakemake_ends_with_its_terminal(caller: Caller) -> None:
    """Ctrl-C goes to the whole group."""
    mark = _mark()
    process = caller.start(*caller.snakemake("late.txt", "--config", f"mark={mark}"))
    _wait_for(mark, process)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode != 0 and not (caller.place / "late.txt").exists()
    assert any(not _named(mark) for _ in _moments())


def _mark() -> str:
    """Seconds to sleep that nobody else on this host sleeps."""
    return f"{time.time():.6f}"


def _wait_for(mark: str, process: subprocess.Popen[str]) -> None:
    for _ in _moments():
        if _named(mark):
            return
        assert process.poll() is None, process.communicate()
    raise AssertionError("the task has not started")


def _named(mark: str) -> list[str]:
    """The tools that sleep so long; the caller and our executable have it among other words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", mark.encode()]:
            found.append(path.parent.name)
    return found


def _moments() -> Iterator[None]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        yield
        time.sleep(0.05)

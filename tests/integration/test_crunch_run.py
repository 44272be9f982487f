"""Arvados' crunch-run: its command lines and environments, and what its tests expect of them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.containers import (
    ENGINES,
    PATIENCE,
    Home,
    all_gone,
    docker_archive,
    marker,
    settled,
    shell_layer,
    waiting,
)
from tests.singularity import Singularity

# What singularity sets by itself, and crunch-run does not take for the tool's.
_ITS_OWN = frozenset(
    "HOSTNAME HOME LD_LIBRARY_PATH PWD LANG SHLVL PROMPT_COMMAND PS1 SINGULARITY_NAME"
    " SINGULARITY_INIT SINGULARITY_CONTAINER SINGULARITY_APPNAME SINGULARITY_BIND"
    " SINGULARITY_COMMAND SINGULARITY_ENVIRONMENT SINGULARITY_NO_EVAL".split()
)
_PARENT = re.compile(r"\nPPid:\t(\d+)\n")


class Executor:
    """What crunch-run does with one image; ``child`` is the process that it started last."""

    child: subprocess.Popen[str]

    def __init__(self, singularity: Singularity, image: Path) -> None:
        self._singularity = singularity
        self._image = image
        # Stand for the account's own directories, which are found without any variable.
        self._account = {
            name: value
            for name, value in singularity.environment.items()
            if name.startswith(("CWL_", "XDG_"))
        }

    def start(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        binds: Mapping[str, tuple[Path, bool]] | None = None,
        working_dir: str = "",
        network: bool = False,
        limits: tuple[str, ...] = (),
    ) -> None:
        """As ``execCmd`` writes it; ``binds`` are host paths by places, and whether read-only."""
        env = {"PATH": "/bin:/usr/bin", **(env or {})}
        words = ["exec", "--containall", "--cleanenv", f"--pwd={working_dir}"]
        words += [] if network else ["--net", "--network=none"]
        words += limits
        for place, (source, read_only) in sorted((binds or {}).items()):
            if place == env.get("HOME"):
                words += ["--home", f"{source}:{place}"]
            else:
                words += ["--bind", f"{source}:{place}:{'ro' if read_only else 'rw'}"]
        given = {f"SINGULARITYENV_{name}": env[name] for name in env if name != "HOME"}
        given |= {"SINGULARITY_NO_EVAL": "1", "DBUS_SESSION_BUS_ADDRESS": ""}
        self.child = subprocess.Popen(
            [self._singularity.place / "singularity", *words, self._image, *command],
            env={**given, "XDG_RUNTIME_DIR": "", **self._account},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, **given: object) -> tuple[int, str, str]:
        """To its end: nobody may have its pipes any more."""
        self.start(*command, **given)  # type: ignore[arg-type]
        out, err = self.child.communicate(timeout=PATIENCE)
        return self.child.returncode, out, err

    def contained_process(self) -> int:
        """One that lsns has a name space of processes of, and whose ancestor is the child.

        0 where there is none yet, or lsns has given up on a process that ended while it looked.
        """
        said = subprocess.run(["lsns"], capture_output=True, text=True)
        for line in said.stdout.splitlines() if said.returncode == 0 else ():
            fields = line.split()
            if len(fields) < 4 or fields[1] != "pid":
                continue
            parent = pid = int(fields[3])
            while parent:
                try:
                    found = _PARENT.search(Path(f"/proc/{parent}/status").read_text())
                except OSError:
                    break
                parent = int(found.group(1)) if found else 0
                if parent == self.child.pid:
                    return pid
        return 0

    def inject(self, pid: int, *command: str) -> subprocess.CompletedProcess[str]:
        """What the gateway's shell does, whose nsenter has capabilities.

        Without them the kernel refuses to enter again what the container shares with the host.
        """
        spaces = ["--all"]
        if os.geteuid() != 0:
            spaces = ["--preserve-credentials", "--user", "--mount", "--pid", "--ipc"]
        words = ["nsenter", f"--target={pid}", *spaces, *command]
        return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)


@pytest.fixture(scope="module")
def image(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``LoadImage`` has it made of what docker save wrote; then where all nodes read it."""
    place = tmp_path_factory.mktemp("crunch-run")
    docker_archive(place / "sha256:1.tar", "busybox:uclibc", shell_layer().bytes(), {"Cmd": ["sh"]})
    (place / "image.tar").symlink_to("sha256:1.tar")
    for name in ("cache", "tmp", "by_uuid", "by_id"):
        (place / name).mkdir()
    variables = {"SINGULARITY_CACHEDIR": f"{place}/cache", "SINGULARITY_TMPDIR": f"{place}/tmp"}
    ours = {k: v for k, v in home.environment.items() if k != "CWL_USERSPACE_HOME"}
    built = Singularity(home, place / "shims")(
        "build",
        place / "by_uuid" / "image.sif",
        f"docker-archive://{place}/image.tar",
        cwd=place,
        environment={**ours, **variables},
    )
    assert built.code == 0, built
    # Nothing of it is left to the store of whoever runs the file.
    assert settled(place / "cache" / "cwl-userspace")
    shutil.rmtree(place / "cache")
    image = place / "by_id" / "image.sif"
    image.write_bytes((place / "by_uuid" / "image.sif").read_bytes())
    image.chmod(0o444)
    return image


@pytest.fixture(params=ENGINES)
def executor(request: pytest.FixtureRequest, home: Home, image: Path, tmp_path: Path) -> Executor:
    return Executor(Singularity(home, tmp_path / "shims", request.param), image)


@pytest.fixture
def in_name_spaces(home: Home, image: Path, tmp_path: Path) -> Executor:
    return Executor(Singularity(home, tmp_path / "shims", "userns"), image)


def test_exit_codes_and_streams_are_the_tools(executor: Executor) -> None:
    script = "echo foo; echo -n bar >&2; echo baz; echo waz >&2; exit 3"
    limits = ("--cpus", "1", "--memory", str(256 << 20))
    assert executor.run("sh", "-c", script, limits=limits) == (3, "foo\nbaz\n", "barwaz\n")
    assert executor.run("sh", "-c", "kill -9 $$") == (0x80 + 9, "", "")


def test_a_tool_has_the_variables_that_crunch_run_gives_and_no_more(executor: Executor) -> None:
    given = {"A": '`b` $(c) "d"', "CUDA_VISIBLE_DEVICES": "1"}
    code, out, err = executor.run("env", env=given)
    found = dict(line.partition("=")[::2] for line in out.splitlines())
    tools = {name: found[name] for name in found.keys() - _ITS_OWN}
    assert (code, err, tools) == (0, "", {"PATH": "/bin:/usr/bin", **given})


def test_a_tool_starts_in_its_directory_and_has_its_home(
    executor: Executor, tmp_path: Path
) -> None:
    (tmp_path / "in").write_text("in\n")
    (tmp_path / "out").mkdir()
    binds = {
        "/var/spool/cwl": (tmp_path / "out", False),
        "/keep/by_id/in": (tmp_path / "in", True),
    }
    script = "pwd; echo $HOME; cat /keep/by_id/in > made; echo no >> /keep/by_id/in"
    code, out, err = executor.run(
        "sh",
        "-c",
        script,
        env={"HOME": "/var/spool/cwl"},
        binds=binds,
        working_dir="/var/spool/cwl",
    )
    assert (code, out) == (1, "/var/spool/cwl\n/var/spool/cwl\n"), err
    assert (tmp_path / "out" / "made").read_text() == (tmp_path / "in").read_text() == "in\n"


def test_a_network_is_off_unless_it_is_asked_for(in_name_spaces: Executor) -> None:
    assert in_name_spaces.run("ip", "route") == (0, "", "")
    hosts = Path("/proc/net/dev").read_text().count(":")
    code, out, _ = in_name_spaces.run("cat", "/proc/net/dev", network=True)
    assert (code, out.count(":")) == (0, hosts)


def test_the_contained_process_is_found_entered_and_killed(
    in_name_spaces: Executor, tmp_path: Path
) -> None:
    """Where crunch-run has found none, it asks again. SIGKILL ends all that was started."""
    (tmp_path / "testfile").write_text("first tube")
    word, place = marker(), f"/injecttest-{os.getpid()}"
    script = "sleep 98765 & echo ready; exec sleep 98765"
    in_name_spaces.start("sh", "-c", script, env={"M": word}, binds={place: (tmp_path, True)})
    stdout = in_name_spaces.child.stdout
    assert stdout is not None and stdout.readline() == "ready\n"
    looks = (in_name_spaces.contained_process() for _ in waiting(PATIENCE))
    found = next(filter(None, looks), 0)
    assert found
    assert os.readlink(f"/proc/{found}/ns/pid") != os.readlink("/proc/self/ns/pid")
    assert Path(f"/proc/{found}/net/fib_trie").exists()  # where IPAddress looks
    injected = in_name_spaces.inject(found, "cat", f"{place}/testfile")
    assert (injected.returncode, injected.stdout) == (0, "first tube"), injected
    in_name_spaces.child.send_signal(signal.SIGKILL)
    assert in_name_spaces.child.communicate(timeout=PATIENCE) == ("", "")
    assert in_name_spaces.child.returncode == -signal.SIGKILL
    assert all_gone(word, PATIENCE)

"""What every engine keeps, at the level that it promises; and what it does not, it refuses.

Nothing is skipped: a promise that an engine does not make is one that it names with a reason, and
a run that needs it ends with 125 before anything is started.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cwl_userspace.engines import base
from tests.containers import (
    PATIENCE,
    Box,
    Home,
    Word,
    all_gone,
    manifest,
    marker,
    shell_layer,
    with_marker,
)
from tests.dynamic import PROGRAMS, dynamic_layer
from tests.engines import working
from tests.integration.test_lifetime import children, tree

# Those that run dynamic programs alone.
DYNAMIC = ("fakechroot",)
# What asks for a promise.
ASKING: dict[str, list[Word]] = {
    base.NETWORK_OFF: ["--network=none"],
    base.READ_ONLY_BINDS: ["-v", "/usr:/in:ro"],
    base.READ_ONLY_ROOT: ["--read-only"],
    base.EMULATED_ROOT: ["-u", "root"],
    base.LIMITS: ["--memory=256m"],
}


class Cell(Box):
    """An engine, the image that it can run, and what it says that it promises."""

    def __init__(self, home: Home, engine: str) -> None:
        super().__init__(home, engine)
        self.image = "dynamic" if engine in DYNAMIC else "busybox"
        self.promises: dict[str, str] = {}

    def script(self, text: str, *options: Word, **given: object) -> str:
        """What a script prints; it may fail, but not before it is started."""
        ran = self.sh(text, *options, image=self.image, **given)
        assert ran.code < 125, ran
        return ran.out.decode()

    def keeps(self, promise: str) -> bool:
        """True if it is promised; if not, that is said, and what needs it is refused."""
        reason = self.promises[promise]
        if reason:
            assert len(reason.split()) > 2, reason
            if promise in ASKING:
                asked = ("--on-unmet", "refuse", *ASKING[promise])
                ran = self.run(*asked, self.image, "true")
                assert ran.code == 125 and promise in ran.complaint
        return not reason


@pytest.fixture(scope="module")
def promises(home: Home) -> dict[str, dict[str, str]]:
    """What doctor says that each engine promises; and the images that are needed."""
    tar = shell_layer().link("data/away", str(home.place)).file("data/file", b"data")
    home.add("busybox", tar.link("data/up", f"../../../../../..{home.place}").bytes())
    tar = dynamic_layer(PROGRAMS).link("data/away", str(home.place)).file("data/file", b"data")
    home.add("dynamic", tar.link("data/up", f"../../../../../..{home.place}").bytes())
    report = json.loads(home.call("doctor", "--quick", "--offline", "--json").text)
    return {engine["name"]: engine["promises"] for engine in report["engines"]}


@pytest.fixture(params=working())
def cell(request: pytest.FixtureRequest, home: Home, promises: dict[str, dict[str, str]]) -> Cell:
    cell = Cell(home, request.param)
    cell.promises = promises[cell.engine]
    return cell


@pytest.fixture
def server() -> Iterator[int]:
    """The port of a server on this host's loopback interface that says a word."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            while True:
                link, _ = listener.accept()
                link.sendall(b"the host\n")
                link.close()
        except OSError:
            return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_no_variable_of_the_host_is_to_be_seen(cell: Cell) -> None:
    if cell.keeps(base.CLEAN_ENVIRONMENT):
        word = marker()
        other = subprocess.Popen(["sleep", "1000"], env={"TOKEN": word})
        try:
            script = "env; cat /proc/*/environ"
            said = cell.script(script, "-e", "GIVEN=given", environment={"TOKEN": word})
            assert word not in said and "GIVEN=given" in said.splitlines()
        finally:
            other.kill()
            other.wait()


def test_no_file_of_the_host_is_to_be_seen_but_what_is_bound(cell: Cell, tmp_path: Path) -> None:
    """By its name no file of the host is, even where no more than that is promised."""
    word = marker()
    secrets = [cell.home.place / "home" / word, tmp_path / word]
    for secret in secrets:
        secret.write_text("do not tell")
    ways = [str(secret) for secret in secrets]
    if cell.keeps(base.PRIVATE_ROOT):
        ways += [*(f"/../..{secret}" for secret in secrets)]
        ways += [f"/data/away/home/{word}", f"/data/up/home/{word}"]
        ways += [f"/proc/{pid}/root{secrets[0]}" for pid in ("self", "1", str(os.getpid()))]
        ways += [f"/proc/{os.getpid()}/cwd/{name}" for name in ("setup.cfg", "README.rst")]
    words = " ".join(f"'{way}'" for way in ways)
    script = f"cat {words} 2>&-; ls / /home /tmp /var/tmp; echo listed"
    bound = tmp_path / "bound"
    bound.write_text("given")
    said = cell.script(script, "-v", f"{bound}:/bound/here:ro")
    assert "do not tell" not in said and "cwl-userspace\n" not in said
    assert word not in said and said.endswith("listed\n")
    assert cell.script("cat /bound/here", "-v", f"{bound}:/bound/here") == "given"


def test_the_image_stays_as_it_is_whatever_is_done_to_it(cell: Cell) -> None:
    stored = cell.home.tree(cell.image)
    before = manifest(stored)
    script = "echo x > /data/file; chmod 777 /data /data/file; rm -rf /data /home /etc/passwd;"
    script += "mkdir /made; mv /etc/group /etc/moved; touch /etc /var; ln /etc/passwd /hard; true"
    for user in ([], ["-u", "root"] if not cell.promises[base.EMULATED_ROOT] else []):
        cell.script(f"({script}) 2>&-", *user)
        assert manifest(stored) == before
    assert cell.script("cat /data/file") == "data"


def test_no_process_of_the_host_is_to_be_seen_or_struck(cell: Cell) -> None:
    word = marker()
    other = subprocess.Popen(["sleep", "1000"], env={"MARKER": word})
    try:
        numbers = cell.script("cd /proc; echo [0-9]*").split()
        private = cell.keeps(base.PRIVATE_PIDS)
        assert (str(other.pid) not in numbers or len(numbers) < 9) == private
        if private:  # what can be seen of its own may go, and the container with it
            cell.sh(f"kill -9 {other.pid}; kill -9 -1; true", image=cell.image)
        assert other.poll() is None and with_marker(word)
    finally:
        other.kill()
        other.wait()


def test_no_network_is_reached_while_it_is_off(cell: Cell, server: int) -> None:
    if cell.image == "busybox":  # where there is a program to try it with
        ask = f"nc 127.0.0.1 {server} < /dev/null; true"
        assert cell.script(ask) == "the host\n"
        if cell.keeps(base.NETWORK_OFF):
            assert cell.script(ask, "--network=none") == ""
    else:
        cell.keeps(base.NETWORK_OFF)


def test_nothing_is_written_through_a_read_only_bind(cell: Cell, tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "file").write_text("kept")
        (tmp_path / name / "link").symlink_to("file")
    before = manifest(tmp_path / "in")
    script = "cd /{0}; echo x > file; echo x >> link; echo x > new; rm -f file; mkdir inner/made;"
    script += "chmod 777 . inner file; touch file inner; mv file inner; ln file inner/hard;"
    script += "echo x > /proc/self/cwd/file; echo x > /proc/self/root/{0}/file; true"
    mounts: list[Word] = ["-v", f"{tmp_path}/in:/in:ro", "-v", f"{tmp_path}/out:/out"]
    if cell.keeps(base.READ_ONLY_BINDS):
        users: list[list[Word]] = [[]]
        if not cell.promises[base.EMULATED_ROOT]:
            users.append(["-u", "root"])
        for user in users:
            cell.script(f"({script.format('in')}) 2>&-", *mounts, *user)
            assert manifest(tmp_path / "in") == before
    cell.script("echo x > /out/new", "-v", f"{tmp_path}/out:/out")
    assert (tmp_path / "out/new").read_text() == "x\n"


def test_nothing_is_written_to_a_read_only_root(cell: Cell) -> None:
    script = "echo x > /made; echo x > /data/file; rm -f /data/file; mkdir /etc/made; ls / /etc;"
    if cell.keeps(base.READ_ONLY_ROOT):
        said = cell.script(f"({script}) 2>&-; cat /data/file", "--read-only")
        assert "made" not in said.split() and said.endswith("data")


def test_no_mount_leads_out_through_a_link_of_the_image(cell: Cell, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    before = manifest(cell.home.place / "home")
    for place in ("/data/away/home", "/data/up/home/deeper", "/data/away/home/new"):
        for mount in (f"{tmp_path}/source:{place}", f"/etc/hostname:{place}/file"):
            ran = cell.run("-v", mount, "-w", place, cell.image, "sh", "-c", "echo x > ./made")
            assert manifest(cell.home.place / "home") == before, ran


@pytest.mark.parametrize("way", ["end", "SIGTERM", "SIGKILL", "keeper"])
def test_nothing_survives_any_end(cell: Cell, way: str) -> None:
    assert cell.keeps(base.NO_SURVIVORS)
    word = marker()
    script = tree(word, "exit 5" if way == "end" else "exec sleep 1000")
    process = cell.start_sh(script, image=cell.image)
    if way == "end":
        assert process.wait(PATIENCE) == 5
    else:
        assert len(with_marker(word)) >= 4
        if way == "keeper":
            (keeper,) = children(process.pid)
            os.kill(keeper, signal.SIGKILL)
        else:
            process.send_signal(getattr(signal, way))
        code = process.wait(PATIENCE)
        assert code == {"SIGTERM": 143, "SIGKILL": -9, "keeper": 137}[way]
    assert all_gone(word, 5)


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -SEGV $$", 139)],
)
def test_exit_codes_are_those_of_the_program(cell: Cell, script: str, code: int) -> None:
    assert cell.keeps(base.EXIT_CODES)
    assert cell.sh(script, image=cell.image).code == code


def test_programs_that_cannot_be_started_have_codes_of_their_own(cell: Cell) -> None:
    assert cell.run(cell.image, "/no/such/program").code == 127
    assert cell.run(cell.image, "/data/file").code == 126


def test_root_is_emulated(cell: Cell) -> None:
    if cell.keeps(base.EMULATED_ROOT):
        script = "id -u; mkdir /made; echo x > /made/f; chmod 700 /made; rm /data/file; ls /made"
        if cell.image == "busybox":
            script += (
                "; chown -R 12:34 /made && chgrp 12 /data && mknod /made/n c 1 3 && echo owned"
            )
        said = cell.script(script, "-u", "root").split()
        assert said == (["0", "f", "owned"] if cell.image == "busybox" else ["0", "f"])


def test_what_is_over_a_limit_is_ended(cell: Cell) -> None:
    if cell.keeps(base.LIMITS) and cell.image == "busybox":
        hog = "x=a; while :; do x=$x$x; done"
        assert cell.sh(hog, "--memory=64m", image=cell.image).code == 137
        assert cell.script("echo modest", "--memory=64m") == "modest\n"

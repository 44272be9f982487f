"""fakechroot: what it promises holds, and what it cannot run is refused in one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.containers import Box, Home, Tar, Word, all_gone, manifest, marker, waiting
from tests.dynamic import PROGRAMS, compiled, dynamic_layer, linked
from tests.integration.test_doctor import engines, in_namespace, report
from tests.integration.test_doors import DOORS, cwl
from tests.integration.test_network import port

__all__ = ["port"]

OWN_VARIABLES = {
    *("LD_PRELOAD", "LD_LIBRARY_PATH", "FAKECHROOT", "FAKECHROOT_BASE", "FAKECHROOT_VERSION"),
    "FAKECHROOT_EXCLUDE_PATH",
}
CONNECT = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
int main(int argc, char **argv) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd < 0 || connect(fd, (void *)&to, sizeof to) ? 9 : 0;
}
"""


def layer(place: Path) -> Tar:
    """Dynamic programs, and links and scripts that would lead to the host's files."""
    tar = dynamic_layer(PROGRAMS, [compiled(place, "connect", CONNECT)])
    tar.file("etc/hostname", b"the image's\n").link("data/absolute", "/etc/hostname")
    tar.link("data/climbing", "../../../../etc/hostname").link("data/away", "/etc/shadow")
    tar.link("opt", "/usr").file("usr/own-shell", b"#!/opt/loader /bin/sh\n", 0o755)
    tar.link("usr/loader", "/bin/dash")
    tar.file("data/script", b"#!/opt/loader\necho $0 $1 of $(cat /etc/hostname)\n", 0o755)
    tar.file("data/env-script", b"#!/bin/env sh\necho $0 by env\n", 0o755)
    return tar.file("data/plain", b"text", 0o644).file("data/file", b"data\n", 0o644)


@pytest.fixture(scope="module")
def box(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Box:
    home.add("dynamic", layer(tmp_path_factory.mktemp("programs")).bytes())
    return Box(home, "fakechroot")


def sh(box: Box, script: str, *options: Word, **environment: str) -> str:
    return box.sh(script, *options, image="dynamic", environment=environment).text


def test_it_works_here_and_says_what_it_cannot_keep(home: Home) -> None:
    said = engines(report(home))["fakechroot"]
    kept = {promise for promise, reason in said["promises"].items() if not reason}
    assert said["works"]
    assert {"clean environment", "no survivors", "exit codes", "network off"} <= kept
    assert set(said["promises"]) - kept == {"private root", "private pids"}
    assert any("LD_PRELOAD" in note for note in said["notes"])


def test_a_missing_library_is_said_with_a_way_to_get_it(home: Home) -> None:
    hidden = "mount -t tmpfs x /usr/lib/$(uname -m)-linux-gnu/fakechroot; "
    done = in_namespace(home, hidden + '"$0" --engine fakechroot run busybox true')
    assert done.returncode == 125
    assert b"there is no libfakechroot.so; install the package fakechroot" in done.stderr


def test_auto_never_takes_it(home: Home) -> None:
    forbid = "echo 0 > /proc/sys/user/max_user_namespaces; "
    run = 'CWL_USERSPACE_PROOT=/bin/false setpriv --bounding-set=-all "$0" run busybox true'
    done = in_namespace(home, forbid + run)
    assert done.returncode == 125 and b"no engine works on this host" in done.stderr
    assert b"proot" in done.stderr and b"fakechroot" not in done.stderr


def test_programs_see_the_images_files_and_none_by_a_link_that_leads_out(box: Box) -> None:
    script = "cat /etc/hostname /data/absolute /data/climbing; readlink /data/absolute"
    assert sh(box, script).splitlines() == ["the image's"] * 3 + ["/etc/hostname"]
    assert sh(box, "cat /data/away 2>&- || echo none") == "none\n"
    assert "dynamic" not in sh(box, "ls / /home")
    assert "bin" in sh(box, "cd /..; ls; pwd").split()


def test_the_environment_is_the_images_and_what_was_asked_for(box: Box) -> None:
    shown = sh(box, "env", "-e", "ASKED=for", SECRET="of the host", LC_ALL="C.UTF-8")
    names = {line.partition("=")[0] for line in shown.splitlines()}
    assert names == OWN_VARIABLES | {"ASKED", "PATH", "HOME", "HOSTNAME", "PWD"}
    assert "of the host" not in shown


def test_the_images_own_libraries_are_found_where_it_says(box: Box) -> None:
    options = ("-e", "LD_LIBRARY_PATH=/data:", "-e", "LD_PRELOAD=/data/x.so")
    shown = box.sh("env", *options, image="dynamic").out.decode()
    found = dict(line.partition("=")[::2] for line in shown.splitlines())
    assert found["LD_LIBRARY_PATH"].startswith(found["FAKECHROOT_BASE"] + "/data:/")
    assert found["LD_PRELOAD"].endswith(f":{found['FAKECHROOT_BASE']}/data/x.so")


def test_scripts_get_the_images_interpreter(box: Box) -> None:
    ran = box.run("dynamic", "/data/script", "one")
    assert ran.text == "/data/script one of the image's\n"
    assert sh(box, "/data/script two") == "/data/script two of the image's\n"
    assert box.run("-w", "/data", "dynamic", "./env-script").text.endswith("env-script by env\n")


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -9 $$", 137), ("nothing", 127)],
)
def test_exit_codes_are_those_of_the_program(box: Box, script: str, code: int) -> None:
    assert box.sh(script, image="dynamic").code == code


def test_programs_that_are_not_there_or_cannot_be_executed_are_told(box: Box) -> None:
    assert box.run("dynamic", "no-such").code == 127
    ran = box.run("dynamic", "/data/plain")
    assert ran.code == 126 and "permission denied" in ran.complaint


def test_a_static_program_is_refused(box: Box) -> None:
    ran = box.run("busybox", "true")
    assert ran.code == 125
    assert "dynamic programs only, and 'true' is a static one; choose another" in ran.complaint


def test_a_program_of_another_c_library_is_refused(box: Box, tmp_path: Path) -> None:
    loader = "lib/ld-musl-x86_64.so.1"
    options = f"-Wl,--dynamic-linker=/{loader}"
    program = compiled(tmp_path, "program", "int main(void) { return 0; }\n", options)
    tar = dynamic_layer((), [program]).file(loader, b"\x7fELF", 0o755)
    ran = box.run(box.home.add("musl", tar.bytes()), "program")
    assert ran.code == 125 and "glibc only, and 'program' is one of musl" in ran.complaint


def test_a_c_library_that_is_too_old_is_refused(box: Box) -> None:
    tar = dynamic_layer(())
    (libc,) = {path for path in linked("/bin/sh") if "libc.so" in path}
    old = Path(libc).read_bytes().replace(b"GLIBC_2.34", b"GLIBC_2.04")
    ran = box.run(box.home.add("old", tar.file(libc[1:], old, 0o755).bytes()), "sh", "-c", ":")
    assert ran.code == 125
    assert "libfakechroot.so needs GLIBC_2.34, which the image's C library lacks" in ran.complaint


def test_an_image_with_another_ld_so_is_run_by_its_own(box: Box) -> None:
    """One byte more is enough to be another, and does no harm."""
    (loader,) = {path for path in linked("/bin/sh") if "ld-linux" in path}
    tar = dynamic_layer().file(loader[1:], Path(loader).read_bytes() + b"\n", 0o755)
    image = box.home.add("other", tar.file("etc/hostname", b"the image's\n").bytes())
    script = "echo $0 $1; readlink /proc/self/exe; sh -c 'cat /etc/hostname'; kill -TERM $$"
    ran = box.run(image, "sh", "-c", script, "name", "word")
    real = os.path.realpath(loader).rpartition("/")[2]
    assert ran.code == 143
    first, exe, last = ran.out.decode().splitlines()
    assert (first, last) == ("name word", "the image's")
    assert exe.endswith(("ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", real))


def test_what_is_mounted_can_be_read_and_written_as_asked(box: Box, tmp_path: Path) -> None:
    out, given = tmp_path / "out", tmp_path / "given"
    out.mkdir()
    given.mkdir()
    (given / "file").write_text("given")
    (given / "file").chmod(0o640)
    before = manifest(given)
    script = (
        "pwd; cat /in/file /one; echo made > made; echo x > /in/file; echo x > /in/new"
        "; chmod 777 /in/file; touch -d @1 /in/file; rm /in/file; echo x > /one; ln /one /in/two"
        "; cd sub; echo below > $(readlink -f .)/real; echo"
    )
    (out / "sub").mkdir()
    ran = box.sh(
        script,
        *("-v", f"{out}:/work", "-v", f"{given}:/in:ro", "-v", f"{given}/file:/one:ro"),
        *("-w", "/work"),
        image="dynamic",
    )
    assert ran.out.decode().split() == ["/work", "givengiven"]
    assert (out / "made").read_text() == "made\n" and (out / "sub/real").read_text() == "below\n"
    assert manifest(given) == before


def test_a_mount_below_another_is_a_link_in_that_ones_source(box: Box, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "file").write_text("staged")
    mounts = ("-v", f"{out}:/work", "-v", f"{tmp_path}/file:/work/in/file:ro")
    for _ in range(2):
        script = "cat /work/in/file; (echo x > /work/in/file) 2>&- || echo kept"
        assert sh(box, script, *mounts) == "stagedkept\n"
    (out / "in/file").unlink()
    (out / "in/file").write_text("of the user")
    ran = box.sh("true", *mounts, image="dynamic")
    assert ran.code == 125 and "the mount above it has something there" in ran.complaint


def test_the_stored_tree_stays_as_it_is_and_nothing_is_left(box: Box) -> None:
    tree = box.home.tree("dynamic")
    before, left = manifest(tree), box.home.leftovers
    script = "echo x > /etc/hostname; rm -r /data; mkdir /new; chmod 700 /etc; ls /; cat /etc/hosts"
    assert "new" in sh(box, script).split()
    assert manifest(tree) == before
    assert box.home.leftovers == left


def test_a_read_only_root_is_one(box: Box) -> None:
    script = "for p in /etc/hostname /new /data/x /var/x; do (echo x > $p) 2>&- && echo $p; done"
    script += "; echo x > /tmp/x; echo x > /dev/null; echo done"
    assert sh(box, script, "--read-only") == "done\n"
    assert len(sh(box, script).split()) == 5


def test_the_network_is_off_when_asked(box: Box, port: int) -> None:
    assert box.run("dynamic", "connect", str(port)).code == 0
    assert box.run("--network=none", "dynamic", "connect", str(port)).code == 9


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
def test_nothing_survives_the_end_of_the_run(box: Box, number: int) -> None:
    word = marker()
    before = {*os.listdir(box.home.place / "tmp")}
    script = f"(sleep 1000 & sh -c 'sleep 1000; : {word}') & echo ready; sleep 1000; : {word}"
    process = box.start_sh(script, image="dynamic")
    process.send_signal(number)
    process.wait(20)
    assert all_gone(word)
    for _ in waiting(5):
        if {*os.listdir(box.home.place / "tmp")} <= before:
            return
    raise AssertionError("its private directory is still there")


def test_a_signal_reaches_the_program_which_may_answer_it(box: Box) -> None:
    process = box.start_sh("trap 'exit 5' TERM; echo ready; sleep 1000 & wait", image="dynamic")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 5


def test_what_a_program_leaves_running_ends_with_it(box: Box) -> None:
    word = marker()
    assert sh(box, f"sh -c 'sleep 1000; : {word}' > /dev/null 2>&1 & exit 0") == ""
    assert all_gone(word)


def test_a_private_place_that_ld_so_would_cut_is_refused(box: Box, tmp_path: Path) -> None:
    odd = tmp_path / "with:colon"
    odd.mkdir()
    ran = box.run("dynamic", "true", environment={"TMPDIR": str(odd)})
    assert ran.code == 125 and "set TMPDIR to a path without colons" in ran.complaint


def test_root_is_emulated_by_answers(box: Box) -> None:
    script = "id -u; id -g; id -un; chown 12:34 /etc/hostname && echo changed; touch /root/made"
    script += "; mknod /dev/disk b 8 0 && echo made; ls /dev/disk 2>&- || echo none"
    ran = box.sh(script, "-u", "root", image="dynamic")
    assert ran.text.split() == ["0", "0", "root", "changed", "made", "none"]
    assert box.run("dynamic", "id", "-u").text == f"{os.geteuid()}\n"


@pytest.mark.parametrize("door", DOORS)
def test_both_doors_of_cwltool_work(box: Box, door: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("content\n")
    requirements = {
        "DockerRequirement": {"dockerPull": "dynamic"},
        "InitialWorkDirRequirement": {
            "listing": [{"entryname": "staged.txt", "entry": "$(inputs.file)"}]
        },
    }
    script = "cat $0 staged.txt; cd /; cat $0; echo done > $HOME/made; echo $TMPDIR; echo x > $0"
    ran, outputs = cwl(
        *(box.home, door, "fakechroot", tmp_path, script, tmp_path / "file.txt"),
        requirements=requirements,
        successCodes=[0, 2],
    )
    assert ran.code == 0, ran.err.decode()
    assert (outputs / "out.txt").read_text() == "content\n" * 3 + "/tmp\n"
    # The other door leaves out which mounts are read-only.
    assert door != "extension" or (tmp_path / "file.txt").read_text() == "content\n"


def test_the_shown_command_does_the_same(box: Box, tmp_path: Path) -> None:
    shown = box.run("--print-command", "dynamic", "cat", "/etc/hostname").text
    done = subprocess.run(
        ["sh", "-c", shown], env=box.home.environment, capture_output=True, timeout=60
    )
    assert done.stdout == b"the image's\n", done

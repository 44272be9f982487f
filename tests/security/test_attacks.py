"""Ways out of a container that others have found: what holds with the engines that always are."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cwl_userspace.kernel import landlock
from tests.containers import Box, Home, Ran, Word, marker
from tests.security.test_isolation import HOSTS_PYTHON

USERS: list[list[Word]] = [[], ["-u", "root"]]
# Tries each way against a process of the host, its number given, and prints what came of it.
ATTACK = r"""
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
pid, word, name = int(sys.argv[1]), sys.argv[2][::-1], sys.argv[3]
def read(path):
    try:
        with open(path, "rb") as file:
            return word.encode() in file.read(1 << 20)
    except OSError:
        return False
def call(*words):
    return libc.syscall(*words) >= 0
def connect():
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect("\0" + name)
        return link.recv(20) == b"the host"
    except OSError:
        return False
def signal():
    try:
        os.kill(pid, 0)
        return read(f"/proc/{pid}/cmdline")
    except OSError:
        return False
ATTACKS = {
    "its variables": lambda: read(f"/proc/{pid}/environ"),
    "its input": lambda: read(f"/proc/{pid}/fd/0"),
    "its root": lambda: read(f"/proc/{pid}/root" + sys.argv[4]),
    "its directory": lambda: read(f"/proc/{pid}/cwd/secret"),
    "its memory": lambda: os.path.exists(f"/proc/{pid}/mem") and bool(open_mem()),
    "its descriptors": lambda: call(438, libc.syscall(434, pid, 0), 0, 0),
    "its end": signal,
    "an abstract socket": connect,
    "the old root by ..": lambda: read("/" + "../" * 30 + sys.argv[4].lstrip("/")),
    "core_pattern": lambda: bool(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)),
    "modprobe": lambda: bool(os.open("/proc/sys/kernel/modprobe", os.O_WRONLY)),
    "kernel memory": lambda: bool(os.open("/proc/kcore", os.O_RDONLY)),
    "a trace": lambda: read(f"/proc/{pid}/cmdline") and libc.ptrace(16, pid, 0, 0) == 0,
}
def open_mem():
    return os.open(f"/proc/{pid}/mem", os.O_RDONLY) if read(f"/proc/{pid}/cmdline") else 0
for what, attack in ATTACKS.items():
    try:
        if attack():
            print(what)
    except OSError:
        pass
print("done")
"""
ESCAPE = r"""
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
# chroot out of a chroot, with a directory held open
try:
    held = os.open("/", os.O_RDONLY)
    os.mkdir("/tmp/inner")
    os.chroot("/tmp/inner")
    os.fchdir(held)
    for _ in range(40):
        os.chdir("..")
    os.chroot(".")
except OSError:
    pass
# name spaces of its own, in which mounts can be undone
for flags in (0x10020000, 0x10000000):
    if libc.unshare(flags) == 0:
        libc.umount2(b"/proc", 2), libc.umount2(b"/dev", 2), libc.umount2(sys.argv[2].encode(), 2)
        libc.mount(None, sys.argv[2].encode(), None, 32 | 4096, None)
        libc.mount(b"none", b"/", None, 32 | 4096, None)
try:
    with open(sys.argv[2] + "/file", "w") as file:
        file.write("changed")
except OSError:
    pass
print(os.path.exists(sys.argv[1]))
"""


@pytest.fixture(params=["userns", "proot"])
def cell(request: pytest.FixtureRequest, home: Home) -> Box:
    return Box(home, request.param)


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[tuple[int, str, str]]:
    """A process of the host with a word in all that is its own, behind an abstract socket."""
    word, name = marker(), marker()
    (tmp_path / "secret").write_text(word)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + name)
    listener.listen()
    serve = "import socket, sys\nlistener = socket.socket(fileno=int(sys.argv[2]))\nwhile True:\n"
    serve += "    link, _ = listener.accept()\n    link.send(b'the host')\n    link.close()\n"
    with (tmp_path / "secret").open("rb") as secret:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", serve, word, str(listener.fileno())],
            env={"TOKEN": word},
            stdin=secret,
            cwd=tmp_path,
            pass_fds=[listener.fileno()],
        )
    listener.close()
    yield process.pid, word, name
    assert process.poll() is None
    process.kill()
    process.wait()


def attack(cell: Box, script: str, *words: str, options: list[Word]) -> Ran:
    python = ["busybox", "/usr/bin/python3", "-I", "-c", script]
    return cell.run(*HOSTS_PYTHON, *options, *python, *words)


@pytest.mark.parametrize("user", USERS, ids=["self", "root"])
def test_a_process_of_the_host_gives_nothing_away(
    cell: Box, victim: tuple[int, str, str], tmp_path: Path, user: list[Word]
) -> None:
    pid, word, name = victim
    arguments = (str(pid), word[::-1], name, str(tmp_path / "secret"))
    ran = attack(cell, ATTACK, *arguments, options=["--network=none", *user])
    assert ran.code == 0, ran
    *got, last = ran.out.decode().splitlines()
    assert last == "done"
    if landlock.abi() < 6:  # what keeps signals and sockets within comes with Linux 6.12
        got = [what for what in got if what not in ("its end", "an abstract socket")]
    assert got == []


@pytest.mark.parametrize("user", USERS, ids=["self", "root"])
def test_the_root_and_read_only_binds_are_kept_in_name_spaces_below(
    cell: Box, tmp_path: Path, user: list[Word]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("kept")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    options: list[Word] = ["-v", f"{source}:/in:ro", *user]
    ran = attack(cell, ESCAPE, str(secret), "/in", options=options)
    assert ran.out == b"False\n", ran
    assert (source / "file").read_text() == "kept"


def test_the_attack_finds_all_this_where_there_is_no_container(
    victim: tuple[int, str, str], tmp_path: Path
) -> None:
    """So that the tests above cannot pass for want of trying."""
    pid, word, name = victim
    command = [sys.executable, "-I", "-c", ATTACK, str(pid), word[::-1], name]
    done = subprocess.run(
        [*command, str(tmp_path / "secret")], capture_output=True, text=True, timeout=30
    )
    expected = {"its variables", "its input", "its root", "its directory", "its end", "its memory"}
    expected |= {"its descriptors", "an abstract socket", "the old root by ..", "a trace"}
    assert expected <= set(done.stdout.splitlines()), done
    assert os.getpid() != pid

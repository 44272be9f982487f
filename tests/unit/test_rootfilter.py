"""Emulated root: changes of owner and identity succeed and change nothing."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cwl_userspace.kernel import seccomp, syscalls
from cwl_userspace.kernel.numbers import numbers
from cwl_userspace.kernel.rootfilter import answered_root, emulated_root
from tests.unit.bpf import KIN, MACHINES, call
from tests.unit.forked import Result, in_child, reachable

DONE, ALLOW = seccomp.refuse(0), seccomp.ALLOW
GRANTED = ("chown", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid")
ALSO_GRANTED = ("fchown", "lchown", "fchownat", "setgroups", "setfsuid", "setfsgid")


@pytest.mark.parametrize("machine", MACHINES)
def test_owners_and_identities_are_granted_by_every_number_they_have(machine: str) -> None:
    code = emulated_root(machine)
    for convention in (machine, KIN[machine]):
        known = numbers(convention)
        for name in (*GRANTED, *ALSO_GRANTED):
            assert name in known or (name in ("chown", "lchown") and convention == "aarch64")
            for spelt in {name, f"{name}32"} & known.keys():
                assert call(code, convention, spelt, 1, 2, 3) == DONE, (convention, spelt)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["chmod", "prctl", "unshare", "mount", "execveat", "setxattr"])
def test_everything_else_is_the_kernels_to_answer(machine: str, name: str) -> None:
    code = emulated_root(machine)
    for convention in (machine, KIN[machine]):
        if name in numbers(convention):
            assert call(code, convention, name, 0, 0) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_of_special_files_only_devices_are_not_made(machine: str) -> None:
    code = emulated_root(machine)
    for convention in (machine, KIN[machine]):
        for name, before in (("mknod", (0,)), ("mknodat", (0, 0))):
            if name not in numbers(convention):
                continue
            for kind in (stat.S_IFCHR, stat.S_IFBLK):
                assert call(code, convention, name, *before, kind | 0o666, 0x103) == DONE
            for kind in (0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK):
                assert call(code, convention, name, *before, kind | 0o666, 0) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_who_one_is_can_be_an_answer_too(machine: str) -> None:
    code = answered_root(machine)
    for convention in (machine, KIN[machine]):
        known = numbers(convention)
        for name in ("getuid", "getgid", "geteuid", "getegid"):
            for spelt in {name, f"{name}32"} & known.keys():
                assert call(code, convention, spelt) == DONE
                assert call(emulated_root(machine), convention, spelt) == ALLOW
        for name in ("getresuid", "getresgid"):
            assert call(code, convention, name) == seccomp.refuse(errno.ENOSYS)
        assert call(code, convention, "setuid", 5) == DONE


def as_emulated_root(function: Callable[[], Result], plain_user: bool) -> Result:
    """The result in a user namespace with one id, under the filter."""

    def inside() -> Result:
        uid, gid = os.geteuid(), os.getegid()
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        syscalls.set_no_new_privs()
        seccomp.install(emulated_root(os.uname().machine))
        return function()

    return in_child(inside, plain_user=plain_user)


@pytest.mark.parametrize("plain_user", [False, True])
def test_the_kernel_grants_them_without_doing_them(tmp_path: Path, plain_user: bool) -> None:
    place = reachable(tmp_path)

    def inside() -> tuple[object, ...]:
        file = place / "file"
        file.write_text("x")
        os.chown(file, 33, 33)
        os.lchown(file, 33, 34)
        os.chown("file", 5, 5, dir_fd=os.open(place, os.O_RDONLY))
        with file.open() as opened:
            os.fchown(opened.fileno(), 7, 7)
        os.setgroups([1, 2, 3])
        os.setregid(33, 33)
        os.setresgid(100, 65534, 100)
        os.setgid(12)
        os.setreuid(33, 33)
        os.setresuid(100, 65534, 100)
        os.setuid(12)
        seen = file.stat()
        return os.getresuid(), os.getresgid(), (seen.st_uid, seen.st_gid)

    assert as_emulated_root(inside, plain_user) == ((0, 0, 0), (0, 0, 0), (0, 0))


@pytest.mark.parametrize("plain_user", [False, True])
def test_pipes_and_sockets_are_made_and_devices_only_said_to_be(
    tmp_path: Path, plain_user: bool
) -> None:
    place = reachable(tmp_path)

    def inside() -> dict[str, int]:
        os.chdir(place)
        os.mkfifo("pipe")
        os.mknod("regular", 0o644)
        os.mknod("socket", stat.S_IFSOCK | 0o600)
        socket.socket(socket.AF_UNIX).bind("bound")
        os.mknod("disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))
        os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        return {name: stat.S_IFMT(os.lstat(name).st_mode) for name in os.listdir()}

    assert as_emulated_root(inside, plain_user) == {
        "pipe": stat.S_IFIFO,
        "regular": stat.S_IFREG,
        "socket": stat.S_IFSOCK,
        "bound": stat.S_IFSOCK,
    }


@pytest.mark.parametrize("plain_user", [False, True])
def test_programs_that_give_files_away_succeed(tmp_path: Path, plain_user: bool) -> None:
    place = reachable(tmp_path)
    script = """set -e; cd "$0"; mkdir -p tree; echo x > tree/file
        chown -R 12:34 tree; chgrp mail tree; install -o daemon -g daemon -m 644 tree/file copy
        tar --owner=daemon --group=mail -cf made.tar tree
        mkdir out; tar -C out --same-owner -xpf made.tar; cat out/tree/file copy"""

    def inside() -> str:
        command = ["sh", "-c", script, str(place)]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    assert as_emulated_root(inside, plain_user) == "x\nx\n"

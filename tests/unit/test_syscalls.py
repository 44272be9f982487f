"""The wrappers do what the kernel's calls do, and say errno when they cannot."""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cwl_userspace.kernel import syscalls
from tests.unit.forked import in_child, reachable

USER_NAMESPACE = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS


def enter_namespaces(flags: int) -> None:
    """New user and mount namespaces, and *flags*, with the caller's ids mapped to root."""
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(USER_NAMESPACE | flags)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def user_namespaces_work() -> bool:
    try:
        in_child(lambda: syscalls.unshare(USER_NAMESPACE))
    except OSError:
        return False
    return True


needs_user_namespaces = pytest.mark.skipif(
    not user_namespaces_work(), reason="no user namespaces here"
)


# The headers that linux-libc-dev has on each kind of machine.
HEADERS = {
    "x86_64": {
        "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
        "i386": "/usr/include/x86_64-linux-gnu/asm/unistd_32.h",
        "aarch64": "/usr/include/asm-generic/unistd.h",
    },
    "aarch64": {"aarch64": "/usr/include/asm-generic/unistd.h"},
}[os.uname().machine]


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    header = HEADERS[machine]
    known = dict(re.findall(r"^#define __NR_(\w+)\s+(\d+)", Path(header).read_text(), re.M))
    ours = syscalls.numbers(machine)
    # what the header knows is the same, and what it does not know is newer than the header
    newest = max(int(number) for number in known.values())
    assert {n: v for n, v in ours.items() if v <= newest} == {
        n: int(known[n]) for n, v in ours.items() if v <= newest
    }


def test_a_machine_that_is_not_known_is_an_error() -> None:
    with pytest.raises(KeyError):
        syscalls.numbers("pdp11")


def test_a_raw_call_returns_what_the_kernel_returns() -> None:
    getpid = {"x86_64": 39, "aarch64": 172}[os.uname().machine]
    assert syscalls.syscall(getpid) == os.getpid()


@pytest.mark.parametrize(
    ("call", "number"),
    [
        (lambda: syscalls.umount("/nowhere/at all"), errno.ENOENT),
        (lambda: syscalls.pivot_root("/nowhere", "/nowhere"), errno.ENOENT),
        (lambda: syscalls.mount("/nowhere", "/no", None, syscalls.MS_BIND), errno.ENOENT),
        (lambda: syscalls.unshare(0x7FFFFFFF), errno.EINVAL),
        (lambda: syscalls.prctl(-1), errno.EINVAL),
        (lambda: syscalls.syscall(99999), errno.ENOSYS),
    ],
)
def test_a_failure_is_an_oserror_with_errno(call: Callable[[], None], number: int) -> None:
    with pytest.raises(OSError) as caught:
        call()
    wanted = {number} if os.geteuid() == 0 else {number, errno.EPERM}
    assert caught.value.errno in wanted


@needs_user_namespaces
def test_binds_pivots_and_read_only_mounts_work_without_rights(tmp_path: Path) -> None:
    strange = reachable(tmp_path) / "na\udce9me with space"
    strange.mkdir()
    strange.chmod(0o777)

    def inside() -> tuple[list[str], int]:
        enter_namespaces(0)
        syscalls.mount("tmpfs", str(strange), "tmpfs", syscalls.MS_NOSUID, "mode=755")
        (strange / "old").mkdir()
        (strange / "file").touch()
        syscalls.mount_setattr(
            syscalls.AT_FDCWD,
            str(strange),
            syscalls.AT_RECURSIVE,
            syscalls.MOUNT_ATTR_RDONLY,
            0,
        )
        with pytest.raises(OSError) as caught:
            (strange / "file").write_text("x")
        syscalls.pivot_root(str(strange), str(strange / "old"))
        os.chdir("/")
        syscalls.umount("/old", syscalls.MNT_DETACH)
        return sorted(os.listdir("/")), caught.value.errno or 0

    assert in_child(inside, plain_user=True) == (["file", "old"], errno.EROFS)


@needs_user_namespaces
def test_a_new_network_namespace_gets_its_loopback_up() -> None:
    def inside() -> tuple[int, int]:
        import socket

        enter_namespaces(syscalls.CLONE_NEWNET)
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.socket() as client:
            before = client.connect_ex(server.getsockname())
        syscalls.loopback_up()
        with socket.socket() as client:
            return before, client.connect_ex(server.getsockname())

    assert in_child(inside) == (errno.ENETUNREACH, 0)


@needs_user_namespaces
def test_the_host_name_of_a_new_namespace_can_be_set() -> None:
    def inside() -> str:
        enter_namespaces(syscalls.CLONE_NEWUTS)
        syscalls.sethostname(b"box")
        return os.uname().nodename

    assert in_child(inside, plain_user=True) == "box"


def test_no_new_privileges_shows_in_proc() -> None:
    def inside() -> str:
        syscalls.set_no_new_privs()
        return Path("/proc/self/status").read_text()

    assert "NoNewPrivs:\t1" in in_child(inside)


def test_a_subreaper_inherits_its_orphans() -> None:
    def inside() -> int:
        syscalls.set_child_subreaper()
        reader, writer = os.pipe()
        if os.fork() == 0:
            if os.fork() == 0:
                os.close(reader)
                while os.getppid() != int(os.environ["REAPER"]):
                    time.sleep(0.01)
                os.write(writer, b"%d" % os.getppid())
                os._exit(0)
            os._exit(0)
        os.wait()
        return int(os.read(reader, 20)) - os.getpid()

    def named() -> int:
        os.environ["REAPER"] = str(os.getpid())
        return inside()

    assert in_child(named) == 0


def test_a_child_can_ask_for_a_signal_when_its_parent_ends() -> None:
    def inside() -> bytes:
        reader, writer = os.pipe()
        middle = os.fork()
        if middle == 0:
            ready, go = os.pipe()
            if os.fork() == 0:
                signal.signal(
                    signal.SIGUSR1, lambda number, frame: (os.write(writer, b"told"), os._exit(0))
                )
                syscalls.set_pdeathsig(signal.SIGUSR1)
                os.write(go, b"x")
                time.sleep(20)
                os._exit(1)
            os.read(ready, 1)
            os._exit(0)
        os.close(writer)
        os.waitpid(middle, 0)
        return os.read(reader, 10)

    assert in_child(inside) == b"told"

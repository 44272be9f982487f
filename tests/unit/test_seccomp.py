"""The filters answer as they say: run by an interpreter of BPF, and by the kernel itself."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys

import pytest

from cwl_userspace.kernel import seccomp, syscalls
from tests.unit.bpf import AUDIT, KIN, MACHINES, answer, call
from tests.unit.forked import in_child

ENOSYS, ALLOW = seccomp.refuse(errno.ENOSYS), seccomp.ALLOW

needs_seccomp = pytest.mark.skipif(not seccomp.available(), reason="no seccomp filters here")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["statx", "openat2", "io_uring_setup", "execveat", "file_getattr"])
def test_calls_that_proot_does_not_know_are_missing(machine: str, name: str) -> None:
    code = seccomp.untranslated_paths(machine)
    assert call(code, machine, name) == ENOSYS
    assert call(code, KIN[machine], name) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_clone3_is_missing_unless_somebody_judges_what_it_asks_for(machine: str) -> None:
    assert call(seccomp.untranslated_paths(machine), machine, "clone3") == ENOSYS
    assert call(seccomp.untranslated_paths(machine, True), machine, "clone3") == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_newer_than_the_list_are_missing_and_the_rest_is_allowed(machine: str) -> None:
    code = seccomp.untranslated_paths(machine)
    named = set(syscalls.numbers(machine).values())
    for number in range(470):
        if number not in named:
            assert answer(code, AUDIT[machine], number) == ALLOW
    assert answer(code, AUDIT[machine], 470) == ENOSYS
    assert answer(code, AUDIT[machine], 1000) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("void", [-1, -2])
def test_the_numbers_by_which_a_tracer_cancels_a_call_pass(machine: str, void: int) -> None:
    assert answer(seccomp.untranslated_paths(machine), AUDIT[machine], void) == ALLOW
    assert answer(seccomp.no_network(machine), AUDIT[machine], void) == ALLOW


def test_x32_calls_are_missing() -> None:
    for code in (seccomp.untranslated_paths("x86_64"), seccomp.no_network("x86_64")):
        assert answer(code, AUDIT["x86_64"], 0x40000000 | 41, socket.AF_INET) == ENOSYS


def test_the_private_calls_of_32_bit_arm_pass() -> None:
    assert answer(seccomp.untranslated_paths("aarch64"), AUDIT["arm"], 0xF0002) == ALLOW


def test_a_convention_that_the_machine_does_not_have_is_allowed() -> None:
    assert answer(seccomp.untranslated_paths("x86_64"), AUDIT["arm"], 397) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_a_clone_may_not_ask_to_leave_its_tracer(machine: str) -> None:
    code = seccomp.untranslated_paths(machine)
    assert call(code, machine, "clone", 17) == ALLOW
    assert call(code, machine, "clone", 17 | syscalls.CLONE_UNTRACED) == seccomp.refuse(errno.EPERM)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_program_stays_readable_for_its_tracer(machine: str) -> None:
    code = seccomp.untranslated_paths(machine)
    assert call(code, machine, "prctl", syscalls.PR_SET_DUMPABLE, 0) == seccomp.refuse(0)
    assert call(code, machine, "prctl", syscalls.PR_SET_NO_NEW_PRIVS, 1) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_only_local_and_netlink_sockets_are_left_without_a_network(machine: str) -> None:
    code = seccomp.no_network(machine)
    for convention in (machine, KIN[machine]):
        answers = {family: call(code, convention, "socket", family) for family in range(50)}
        assert [family for family in answers if answers[family] == ALLOW] == [1, 16]
        assert answers[socket.AF_INET] == seccomp.refuse(errno.ENETUNREACH)
        assert answers[socket.AF_INET6] == seccomp.refuse(errno.ENETUNREACH)
        assert answers[40] == seccomp.refuse(errno.EAFNOSUPPORT)  # AF_VSOCK reaches the host
    assert call(code, KIN[machine], "socketcall", 1) == seccomp.refuse(errno.ENETUNREACH)
    assert call(code, KIN[machine], "socketcall", 3) == ALLOW
    assert call(code, machine, "io_uring_setup") == ENOSYS


def test_the_upper_half_of_an_int_argument_hides_nothing() -> None:
    code = seccomp.no_network("x86_64")
    hidden = call(code, "x86_64", "socket", 0xFFFFFFFF00000000 | socket.AF_INET)
    assert hidden == seccomp.refuse(errno.ENETUNREACH)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_first_rule_that_fits_answers_and_later_rules_still_see_the_call(machine: str) -> None:
    rules = [
        seccomp.Rule("ioctl", seccomp.refuse(1), 1, "in", (10, 20)),
        seccomp.Rule("ioctl", seccomp.refuse(2), 1, "any bit", (4,)),
        seccomp.Rule("ioctl", seccomp.refuse(3), 2, "not in", (7, 8)),
        seccomp.Rule("ioctl", seccomp.refuse(6), 3, "in", (0x50,), mask=0xF0),
        seccomp.Rule("no such call", seccomp.refuse(4)),
        seccomp.Rule("statx", seccomp.refuse(5)),
    ]
    code = seccomp.program(machine, rules)
    assert call(code, machine, "ioctl", 0, 20, 7) == seccomp.refuse(1)
    assert call(code, machine, "ioctl", 0, 5, 7) == seccomp.refuse(2)
    assert call(code, machine, "ioctl", 0, 1, 9) == seccomp.refuse(3)
    assert call(code, machine, "ioctl", 0, 1, 8) == ALLOW
    assert call(code, machine, "ioctl", 0, 1, 8, 0x152) == seccomp.refuse(6)
    assert call(code, machine, "ioctl", 0, 1, 8, 0x172) == ALLOW
    assert call(code, machine, "statx") == seccomp.refuse(5)
    assert call(code, machine, "openat2") == ALLOW


@needs_seccomp
@pytest.mark.parametrize("plain_user", [False, True])
def test_the_kernel_takes_the_filter_and_python_falls_back(plain_user: bool) -> None:
    machine = os.uname().machine

    def inside() -> tuple[int, str]:
        syscalls.set_no_new_privs()
        assert seccomp.install(seccomp.untranslated_paths(machine)) == 0
        with pytest.raises(OSError) as caught:
            space = syscalls.buffer(bytes(256))
            syscalls.syscall(syscalls.numbers(machine)["statx"], -100, b"/", 0, 0, space)
        os.stat("/")
        os.access("/", os.R_OK)
        listing = subprocess.run(
            ["ls", "-ld", "/"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        return caught.value.errno or 0, listing[:1]

    assert in_child(inside, plain_user=plain_user) == (errno.ENOSYS, "d")


@needs_seccomp
def test_threads_still_start_where_clone3_is_missing() -> None:
    program = "import threading as t; x = t.Thread(target=print, args=('ran',)); x.start()"

    def inside() -> str:
        syscalls.set_no_new_privs()
        seccomp.install(seccomp.untranslated_paths(os.uname().machine))
        command = [sys.executable, "-c", program]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    assert in_child(inside) == "ran\n"


@needs_seccomp
@pytest.mark.parametrize("plain_user", [False, True])
def test_a_program_without_network_reaches_no_server_of_the_host(plain_user: bool) -> None:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()

    def inside() -> dict[str, int]:
        syscalls.set_no_new_privs()
        seccomp.install(seccomp.no_network(os.uname().machine))
        outcome = {}
        for name in ("AF_INET", "AF_INET6", "AF_PACKET", "AF_UNIX", "AF_NETLINK"):
            kind = socket.SOCK_RAW if name in ("AF_PACKET", "AF_NETLINK") else socket.SOCK_STREAM
            try:
                socket.socket(getattr(socket, name), kind).close()
                outcome[name] = 0
            except OSError as error:
                outcome[name] = error.errno or -1
        assert socket.if_nameindex()
        left, _right = socket.socketpair()
        left.send(b"x")
        return outcome

    gone = errno.ENETUNREACH
    assert in_child(inside, plain_user=plain_user) == {
        "AF_INET": gone,
        "AF_INET6": gone,
        "AF_PACKET": gone,
        "AF_UNIX": 0,
        "AF_NETLINK": 0,
    }


@needs_seccomp
def test_a_filter_that_is_no_program_is_an_oserror() -> None:
    def inside() -> None:
        syscalls.set_no_new_privs()
        seccomp.install(b"\xff" * 8)

    with pytest.raises(OSError) as caught:
        in_child(inside)
    assert caught.value.errno == errno.EINVAL

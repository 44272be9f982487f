"""What a container in namespaces may not ask the kernel for, as in Docker's default profile."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from cwl_userspace.kernel import rootfilter, seccomp, syscalls
from cwl_userspace.kernel.containerfilter import container
from cwl_userspace.kernel.numbers import numbers
from tests.unit.bpf import AUDIT, KIN, MACHINES, answer, call
from tests.unit.forked import in_child

ALLOW, DENIED = seccomp.ALLOW, seccomp.refuse(errno.EPERM)
MISSING = seccomp.refuse(errno.ENOSYS)
REFUSED = (
    *("mount", "umount2", "pivot_root", "setns", "mount_setattr", "open_tree", "move_mount"),
    *("fsopen", "fsmount", "bpf", "perf_event_open", "userfaultfd", "open_by_handle_at"),
    *("add_key", "request_key", "keyctl", "io_uring_setup", "kexec_load", "reboot"),
    *("init_module", "finit_module", "delete_module", "acct", "swapon", "quotactl", "syslog"),
)
USED = ("clone", "execveat", "chown", "setuid", "mknodat", "statx", "openat2", "seccomp", "prctl")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_the_hosts_root_is_refused(machine: str, name: str) -> None:
    code = container(machine)
    for convention in (machine, KIN[machine]):
        assert call(code, convention, name) == DENIED


@pytest.mark.parametrize("machine", MACHINES)
def test_what_programs_use_is_the_kernels_to_answer(machine: str) -> None:
    code = container(machine)
    for convention in (machine, KIN[machine]):
        for name in USED:
            if name in numbers(convention):
                assert call(code, convention, name) == ALLOW, (convention, name)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 1 << 30])
def test_no_further_namespaces_are_made(machine: str, flag: int) -> None:
    code = container(machine)
    for convention in (machine, KIN[machine]):
        assert call(code, convention, "clone", flag | 17) == DENIED
        assert call(code, convention, "unshare", flag) == DENIED
        assert call(code, convention, "clone3") == MISSING


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_and_harmless_words_pass(machine: str) -> None:
    code = container(machine)
    assert call(code, machine, "clone", 0x3D0F00) == ALLOW  # what pthread_create asks for
    assert call(code, machine, "unshare", 0x600) == ALLOW  # CLONE_FS | CLONE_FILES
    assert call(code, machine, "unshare", 0x80) == DENIED  # CLONE_NEWTIME
    assert [call(code, machine, "personality", n) for n in (0, 8, 0xFFFFFFFF)] == [ALLOW] * 3
    assert call(code, machine, "personality", 0x40000) == DENIED
    assert [call(code, machine, "socket", n) for n in (1, 2, 10, 16)] == [ALLOW] * 4
    assert call(code, machine, "socket", 40) == DENIED
    assert call(code, machine, "ioctl", 0, 0x5401) == ALLOW
    assert [call(code, machine, "ioctl", 0, n) for n in (0x5412, 0x541C)] == [DENIED] * 2


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_that_nobody_has_thought_about_are_missing(machine: str) -> None:
    code = container(machine)
    assert answer(code, AUDIT[machine], 470) == MISSING
    assert answer(code, AUDIT[machine], 469) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_rules_that_come_first_win(machine: str) -> None:
    code = container(machine, rootfilter.rules())
    assert call(code, machine, "setuid", 5) == seccomp.refuse(0)
    assert call(code, machine, "mount") == DENIED


def test_the_kernel_takes_it_and_programs_run_under_it() -> None:
    script = "cat /proc/self/status | grep -c Name; unshare -U true || echo no; setarch -R true"

    def inside() -> tuple[str, int]:
        syscalls.set_no_new_privs()
        seccomp.install(container(os.uname().machine))
        command = ["sh", "-c", script]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return done.stdout, done.returncode

    assert in_child(inside) == ("1\nno\n", 1)

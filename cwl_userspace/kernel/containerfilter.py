"""The filter of a container in namespaces: what Docker's default profile refuses, and why it does.

A user namespace gives its root rights over kernel code that only the host's root could reach
before; most of the escapes of the last ten years began there. So no program in a container gets
a further user namespace, and none of the calls that such rights are good for. ptrace stays, since
a proot in the container needs it, and so do the calls that place memory on a processor's node
(mbind and its kin): Docker refuses them to hide the machine, and numerical programs use them.
"""

from __future__ import annotations

import errno

from cwl_userspace.kernel.seccomp import Rule, program, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET, as in Docker's profile.
_NAMESPACES = 0x7E020000
_NEW_TIME = 0x80  # CLONE_NEWTIME: for clone(2) these bits are the signal
_AF_VSOCK = 40  # reaches the host of a virtual machine, and no network namespace keeps it
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX type into the caller's terminal
# PER_LINUX, PER_LINUX32, either with UNAME26, and the question which one it is.
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_REFUSED = (
    *("mount", "umount", "umount2", "pivot_root", "setns", "mount_setattr", "open_tree"),
    *("open_tree_attr", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick"),
    *("bpf", "perf_event_open", "userfaultfd", "open_by_handle_at", "fanotify_init"),
    *("add_key", "request_key", "keyctl"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("kexec_load", "kexec_file_load", "reboot", "syslog", "vhangup", "acct"),
    *("init_module", "finit_module", "delete_module", "create_module", "query_module"),
    *("get_kernel_syms", "nfsservctl", "lookup_dcookie", "uselib", "ustat", "sysfs", "_sysctl"),
    *("quotactl", "quotactl_fd", "swapon", "swapoff"),
    *("settimeofday", "stime", "clock_settime", "clock_settime64"),
    *("ioperm", "iopl", "vm86", "vm86old"),
)


def container(machine: str, first: Sequence[Rule] = ()) -> bytes:
    """The filter for *machine* and its 32-bit kin, its rules after those of *first*.

    clone3 hides its flags behind a pointer: it is said to be missing, and libraries use clone.
    Calls newer than Linux 6.17 are missing as well, since nobody has thought about them yet.
    """
    denied, missing = refuse(errno.EPERM), refuse(errno.ENOSYS)
    rules = [
        *first,
        *(Rule(call, denied) for call in _REFUSED),
        Rule("clone3", missing),
        Rule("clone", denied, 0, "any bit", (_NAMESPACES,)),
        Rule("unshare", denied, 0, "any bit", (_NAMESPACES | _NEW_TIME,)),
        Rule("personality", denied, 0, "not in", _PERSONALITIES),
        Rule("socket", denied, 0, "in", (_AF_VSOCK,)),
        Rule("ioctl", denied, 1, "in", _TERMINAL_INPUT),
    ]
    return program(machine, rules, newer=missing)

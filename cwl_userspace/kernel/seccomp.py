"""seccomp filters: a small BPF assembler, and the filters that mend what proot leaves open.

A filter is put on before proot starts, so proot and everything below it inherit it. It never
kills: a call that must not be made gets an errno, which programs meet with an older way.
Since Linux 4.8 the filter sees a call after proot has changed it; see `available`.
"""

from __future__ import annotations

import errno
import os
import struct

from cwl_userspace.kernel import syscalls

ALLOW = 0x7FFF0000
USER_NOTIF = 0x7FC00000
_ERRNO = 0x00050000

_AUDIT_ARCH = {
    "x86_64": 0xC000003E,
    "i386": 0x40000003,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
}
_COMPAT = {"x86_64": "i386", "aarch64": "arm"}
_NEWEST = 469  # file_setattr, Linux 6.17: the newest call that these lists have considered
_FIRST_X32 = 0x40000000
_FIRST_PRIVATE = {"x86_64": 0x80000000, "i386": 0x80000000, "aarch64": 0x80000000, "arm": 0xF0000}

# struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6]
_NR, _ARCH, _ARGS = 0, 4, 16
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_JUMP = 0x05  # BPF_JMP | BPF_JA
_RETURN = 0x06  # BPF_RET | BPF_K
_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_FARTHEST = 255  # that a conditional jump goes
_WHOLE = 0xFFFFFFFF

_SOCK_FILTER = struct.Struct("=HBBI").pack

_SECCOMP_MODE_FILTER = 2

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_PACKET = 1, 2, 10, 16, 17

# Measured with a C program that makes each call by number inside `proot -r` on Linux 6.18, for
# a file that only the rootfs has and one that only the host has. Debian's 5.1.0 shows the
# *host's* file to these, and so lets a guest out of its root:
_SEEN_TO_LEAK = (
    "statx",
    "openat2",
    "faccessat2",
    "fchmodat2",
    "execveat",
    "open_tree",
    "open_tree_attr",
    "move_mount",
    "fspick",
    "setxattrat",
    "getxattrat",
    "listxattrat",
    "removexattrat",
    "file_getattr",
    "file_setattr",
    "fanotify_mark",
    "quotactl",
    "bpf",  # BPF_OBJ_GET and BPF_OBJ_PIN name files
    "io_uring_setup",  # IORING_OP_OPENAT and its kin name files inside the ring
)
# These did not leak there, for lack of rights or of a kernel that has them, or thanks to Debian's
# patch for renameat2 (upstream's 5.1.0 lets that through), or are translated by 5.1.0 but give
# or take handles that are not (name_to_handle_at).
_COULD_LEAK = (
    "renameat2",
    "mount_setattr",
    "fsopen",
    "fsconfig",
    "fsmount",
    "io_uring_enter",
    "io_uring_register",
    "name_to_handle_at",
    "open_by_handle_at",
    "fanotify_init",
    "quotactl_fd",
    "uselib",
    "lookup_dcookie",
)
# proot translates these, but with real root's rights they change the host for everybody; a
# container has no right to them either.
_OF_THE_HOST = ("mount", "umount", "umount2", "pivot_root", "swapon", "swapoff", "acct")


class Rule:
    """What to answer to one call, or to that call with certain words as one of its arguments.

    An argument is compared by its lower 32 bits, which is what the kernel looks at in an int,
    and of these by the bits that ``mask`` has. ``call`` may be unknown to a machine: the rule
    then means nothing there.
    """

    __slots__ = ("answer", "argument", "call", "mask", "test", "words")

    def __init__(
        self,
        call: str,
        answer: int,
        argument: int = 0,
        test: str = "",
        words: tuple[int, ...] = (),
        mask: int = _WHOLE,
    ) -> None:
        """*test* is "" (always), "in" or "not in" *words*, or "any bit" of one word."""
        self.call = call
        self.answer = answer
        self.argument = argument
        self.test = test
        self.words = words
        self.mask = mask


def refuse(number: int) -> int:
    """The answer that makes a call fail with errno *number*, or succeed idly with 0."""
    return _ERRNO | number


def convention(audit: int) -> str:
    """The calling convention that the kernel names *audit*, as `syscalls.numbers` knows it."""
    return next(name for name, arch in _AUDIT_ARCH.items() if arch == audit)


def _instruction(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One struct sock_filter."""
    return _SOCK_FILTER(code, if_true, if_false, k)


def _test(rule: Rule) -> bytes:
    """Instructions that return the rule's answer if its argument is so, else fall through."""
    answer = _instruction(_RETURN, rule.answer)
    compare = _ANY_BIT if rule.test == "any bit" else _EQUAL
    code = _instruction(_LOAD, _ARGS + 8 * rule.argument)
    if rule.mask != _WHOLE:
        code += _instruction(_AND, rule.mask)
    if rule.test == "not in":
        for left, word in zip(range(len(rule.words), 0, -1), rule.words, strict=True):
            code += _instruction(compare, word, if_true=left)
        return code + answer + _instruction(_LOAD, _NR)
    for word in rule.words:
        code += _instruction(compare, word, if_false=1) + answer
    return code + _instruction(_LOAD, _NR)


def _section(machine: str, rules: list[Rule], newer: int) -> bytes:
    """The filter for one calling convention, which starts with the call's number loaded."""
    numbers = syscalls.numbers(machine)
    code = _instruction(_LOAD, _NR)
    if machine == "x86_64":
        code += _instruction(_AT_LEAST, _FIRST_X32, if_false=2)
        code += _instruction(_AT_LEAST, _FIRST_PRIVATE[machine], if_true=1)
        code += _instruction(_RETURN, refuse(errno.ENOSYS))
    if newer != ALLOW:
        code += _instruction(_AT_LEAST, _NEWEST + 1, if_false=2)
        code += _instruction(_AT_LEAST, _FIRST_PRIVATE[machine], if_true=1)
        code += _instruction(_RETURN, newer)
    same: list[int] = []  # calls in a row that all get one answer
    answer = 0
    for rule in rules:
        if rule.call not in numbers:
            continue
        if same and (rule.test or rule.answer != answer or len(same) == _FARTHEST):
            code += _any_of(same, answer)
            same = []
        if rule.test:
            body = _test(rule)
            code += _instruction(_EQUAL, numbers[rule.call], if_false=len(body) // 8) + body
        else:
            same.append(numbers[rule.call])
            answer = rule.answer
    return code + _any_of(same, answer) + _instruction(_RETURN, ALLOW)


def _any_of(numbers: list[int], answer: int) -> bytes:
    """Instructions that return an answer to any of these calls, else fall through."""
    if not numbers:
        return b""
    *most, last = numbers
    code = [
        _instruction(_EQUAL, number, if_true=left)
        for left, number in zip(range(len(most), 0, -1), most, strict=True)
    ]
    return b"".join((*code, _instruction(_EQUAL, last, 0, 1), _instruction(_RETURN, answer)))


def program(machine: str, rules: list[Rule], newer: int = ALLOW) -> bytes:
    """Assemble *rules* for *machine* (x86_64 or aarch64) into an array of struct sock_filter.

    The first rule that fits gives the answer; what no rule fits is allowed. The 32-bit
    convention of the same processor gets the same rules under its own numbers. x32 calls, which
    hardly a kernel or program knows, answer ENOSYS. *newer* answers calls that came after
    Linux 6.17 and that no list here can name. Numbers above those of any call are allowed
    through to the kernel, which does not know them: proot cancels a call by such a number (-2),
    and 32-bit ARM has its private calls there.
    """
    code = b""
    for name in (machine, _COMPAT[machine]):
        section = _section(name, rules, newer)
        code += _instruction(_EQUAL, _AUDIT_ARCH[name], if_true=1)
        code += _instruction(_JUMP, len(section) // 8) + section
    code = _instruction(_LOAD, _ARCH) + code + _instruction(_RETURN, ALLOW)
    if len(code) // 8 > _MOST_INSTRUCTIONS:
        raise ValueError(f"{len(code) // 8} instructions, the kernel takes {_MOST_INSTRUCTIONS}")
    return code


def untranslated_paths(machine: str, clones_judged: bool = False) -> bytes:
    """A filter under which proot 5.1.0 and newer translate every path that a guest can name.

    ENOSYS is what an old kernel says, so libraries fall back: glibc and musl for statx,
    faccessat2, fchmodat2 and renameat2, liburing's users to plain calls. clone3 is not about
    paths: proot up to 5.4 does not read its flags and takes a thread for a process with a heap
    of its own (so chdir in one thread is not seen by the others). It is left to the mode guard
    where ``clones_judged``. A clone that asks not to be
    traced would leave proot altogether. And a program that makes itself undumpable is told that
    it is, but stays as it was: for a plain user proot could not read its memory any more, and
    each of its calls would end with EFAULT (proot 5.2 and newer do the same).
    """
    missing = refuse(errno.ENOSYS)
    rules = [Rule(call, missing) for call in (*_SEEN_TO_LEAK, *_COULD_LEAK)]
    if not clones_judged:
        rules.append(Rule("clone3", missing))
    untraced = (syscalls.CLONE_UNTRACED,)
    rules.append(Rule("clone", refuse(errno.EPERM), 0, "any bit", untraced))
    rules.append(Rule("prctl", refuse(0), 0, "in", (syscalls.PR_SET_DUMPABLE,)))
    rules += [Rule(call, refuse(errno.EPERM)) for call in _OF_THE_HOST]
    return program(machine, rules, newer=missing)


def no_network(machine: str) -> bytes:
    """A filter that makes only local and netlink sockets (getifaddrs) possible: no loopback.

    io_uring can make sockets too, and socketcall, which only 32-bit programs have, hides the
    family behind a pointer: both are refused, and their callers fall back to socket(2).
    """
    local = (_AF_UNIX, _AF_NETLINK)
    internet = (_AF_INET, _AF_INET6, _AF_PACKET)
    rules = [
        Rule("socket", refuse(errno.ENETUNREACH), 0, "in", internet),
        Rule("socket", refuse(errno.EAFNOSUPPORT), 0, "not in", local),
        Rule("socketcall", refuse(errno.ENETUNREACH), 0, "in", (1,)),
        Rule("io_uring_setup", refuse(errno.ENOSYS)),
    ]
    return program(machine, rules)


def install(code: bytes, flags: int = 0) -> int:
    """Put the filter *code* on this thread and all it will start; see `syscalls`."""
    return syscalls.install_filter(code, flags)


def available() -> bool:
    """Whether filters can be installed here and are asked after a tracer has had its say.

    Linux before 4.8 asked them first and then skipped the tracer's stop at the call's entry but
    not the one at its exit, which leaves proot out of step.
    """
    system = os.uname()
    if system.machine not in _COMPAT:
        return False
    release = system.release.split("-")[0].split(".")
    if tuple(int(part) for part in release[:2] if part.isdigit()) < (4, 8):
        return False
    try:  # EFAULT: the kernel would have read a filter at this address
        syscalls.prctl(syscalls.PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, 0)
    except OSError as error:
        return error.errno == errno.EFAULT
    return True

"""The filter that emulates root at native speed: who owns what is answered, not done.

Where a single user id is mapped, the kernel answers EINVAL to each call that names another one,
and package managers stop there. Under this filter such a call succeeds and changes nothing: all
files stay the user's and all processes root. It keeps no state, so a program that looks whether
its id has changed sees that it has not (apt's sandbox does, and must be switched off).

What was measured under it and found to need no answer: capset and setting the attribute
security.capability succeed as they are, since root of a user namespace has these rights over
files with mapped owners; and a dropped capability should really be dropped.
"""

from __future__ import annotations

import errno

from cwl_userspace.kernel.seccomp import Rule, program, refuse

_OWNERS = ("chown", "lchown", "fchown", "fchownat", "chown32", "lchown32", "fchown32")
_IDENTITY = (
    *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups"),
    *("setuid32", "setgid32", "setreuid32", "setregid32", "setresuid32", "setresgid32"),
    *("setgroups32", "setfsuid", "setfsgid", "setfsuid32", "setfsgid32"),
)
_WHO = tuple(f"get{kind}{bits}" for kind in ("uid", "gid", "euid", "egid") for bits in ("", "32"))
_WHO_IN_MEMORY = tuple(f"getres{kind}{bits}" for kind in ("uid", "gid") for bits in ("", "32"))
# Where the mode is among their arguments.
_MAKE = {"mknod": 1, "mknodat": 2}
_FILE_TYPE = 0o170000  # S_IFMT
_DEVICES = (0o020000, 0o060000)  # S_IFCHR, S_IFBLK


def emulated_root(machine: str) -> bytes:
    """A filter for *machine* and its 32-bit kin that grants changes of owner and identity idly.

    A device is not made, and that too succeeds; pipes, sockets and files are really made.
    """
    return program(machine, rules())


def answered_root(machine: str) -> bytes:
    """As `emulated_root`, where no user is mapped: that a process is root is an answer as well.

    What would be told through a pointer cannot be, and is said to be missing.
    """
    told = [Rule(call, refuse(0)) for call in _WHO]
    untold = [Rule(call, refuse(errno.ENOSYS)) for call in _WHO_IN_MEMORY]
    return program(machine, [*rules(), *told, *untold])


def rules() -> list[Rule]:
    """What `emulated_root` consists of, for a filter that does more."""
    done = refuse(0)
    return [*(Rule(call, done) for call in (*_OWNERS, *_IDENTITY)), *no_devices()]


def no_devices() -> list[Rule]:
    """The part about devices alone, for a root that may do the rest."""
    return [
        Rule(call, refuse(0), mode, "in", _DEVICES, mask=_FILE_TYPE) for call, mode in _MAKE.items()
    ]

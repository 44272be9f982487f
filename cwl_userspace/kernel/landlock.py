"""Landlock: nothing but the named places can be written to, by this process and all it starts.

It binds root as well, and processes of any user can put it on themselves (Linux 5.13). What it
does not cover: modes, owners, times and extended attributes of files; files that were already
open; and, below ABI 3 (Linux 6.2), truncation of files elsewhere, so only `abi` 3 makes a
promise. Below ABI 2 (Linux 5.19) nothing can be renamed or linked from one directory to another
(EXDEV, on which mv copies). A process that is bound cannot mount or unmount either.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from cwl_userspace.kernel import syscalls

_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_WRITE_FILE = 1 << 1
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))  # REMOVE_DIR to MAKE_SYM
_REFER = 1 << 13
_TRUNCATE = 1 << 14
_ON_FILES = _WRITE_FILE | _TRUNCATE
_SCOPES_NEEDED = 6
_ABSTRACT_SOCKETS, _SIGNALS = 1 << 0, 1 << 1


def abi() -> int:
    """The version of Landlock that this kernel speaks; 0 when it has none or has it turned off."""
    if not syscalls.known_machine():
        return 0
    number = syscalls.number_of("landlock_create_ruleset")
    try:
        return syscalls.syscall(number, None, 0, _CREATE_RULESET_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


def write_rights(version: int) -> int:
    """The rights of ABI *version* that have to do with writing (but for ioctls on devices)."""
    rights = _WRITE_FILE | _REMOVE_AND_MAKE
    if version >= 2:
        rights |= _REFER
    if version >= 3:
        rights |= _TRUNCATE
    return rights


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Let *rights* hold at *path* and below; the file rights alone if it is not a directory."""
    number = syscalls.number_of("landlock_add_rule")
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _ON_FILES
        beneath = struct.pack("=Qi", rights, place)
        syscalls.syscall(number, ruleset, _RULE_PATH_BENEATH, beneath, 0)
    except OSError as error:
        # a pipe or a socket (behind /proc/self/fd/1) is never restricted, so has no rule
        if error.errno != errno.EBADFD:
            raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(place)


def write_rules(writable: list[str]) -> int:
    """A rule set under which only the *writable* paths can be written to, as a descriptor.

    For `restrict_writes`, or for a program that calls landlock_restrict_self itself. OSError for
    a path that does not exist, and where Landlock is not available.
    """
    rights = write_rights(abi())
    handled = struct.pack("=Q", rights)
    number = syscalls.number_of("landlock_create_ruleset")
    ruleset = syscalls.syscall(number, handled, len(handled), 0)
    try:
        for path in writable:
            _allow(ruleset, path, rights)
    except OSError:
        os.close(ruleset)
        raise
    return ruleset


def restrict_writes(writable: list[str]) -> None:
    """Deny this thread and all it will start every write outside the *writable* paths, for good.

    Below a writable directory all is possible, and so are renames from one of them to another
    on the same file system. A symbolic link among them is followed. Devices count: without
    /dev/null in the list nothing can be thrown away. A program that opens /dev/stdout again
    where that is a file needs /proc/self/fd/1 in the list. Reading and execution stay as they
    were. Raises OSError for a path that does not exist, and where Landlock is not available;
    nothing is restricted then. Also sets no_new_privs, without which the kernel refuses.
    """
    ruleset = write_rules(writable)
    try:
        syscalls.set_no_new_privs()
        number = syscalls.number_of("landlock_restrict_self")
        syscalls.syscall(number, ruleset, 0)
    finally:
        os.close(ruleset)


def keep_within(abstract_sockets: bool) -> None:
    """Deny this thread and all it will start to signal any process but those, for good.

    With ``abstract_sockets`` those that others have made cannot be connected to either (unix(7)).
    Does nothing below ABI 6 (Linux 6.12). Also sets no_new_privs.
    """
    if abi() < _SCOPES_NEEDED:
        return
    scopes = _SIGNALS | (_ABSTRACT_SOCKETS if abstract_sockets else 0)
    # Renames from one directory to another are denied by every rule set that does not allow them,
    # even by one about something else (Landlock's documentation, LANDLOCK_ACCESS_FS_REFER).
    handled = struct.pack("=QQQ", _REFER, 0, scopes)
    number = syscalls.number_of("landlock_create_ruleset")
    ruleset = syscalls.syscall(number, handled, len(handled), 0)
    try:
        _allow(ruleset, "/", _REFER)
        syscalls.set_no_new_privs()
        syscalls.syscall(syscalls.number_of("landlock_restrict_self"), ruleset, 0)
    finally:
        os.close(ruleset)

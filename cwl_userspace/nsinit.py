"""Runs inside the namespaces: executes an ordered list of operations, then the program.

An operation is a list of a word and its arguments, so that a whole container can be written
down as JSON: ``python -m cwl_userspace.nsinit LAUNCH DIRECTORY COMMAND...``, printed by ``run
--print-command``, does what ``cwl-userspace run`` does in a forked child.
"""

from __future__ import annotations

import os

from cwl_userspace import inroot, nsidentity, nsjoin, nsplaces, nsroot
from cwl_userspace.kernel import syscalls as sys_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class OperationFailed(Exception):
    """An operation failed: which, and why."""


def execute(operations: Sequence[Sequence[Any]]) -> None:
    """Do each operation in order; raise OperationFailed at the first that fails."""
    for word, *arguments in operations:
        try:
            OPERATIONS[word](*arguments)
        except OSError as error:
            about = f": {error.filename}" if isinstance(error.filename, str) else ""
            raise OperationFailed(f"{word}: {error.strerror}{about}") from None


def tidy(operations: Sequence[Sequence[Any]]) -> None:
    """Do each operation as far as it can be done."""
    for operation in operations:
        try:
            execute([operation])
        except OperationFailed:
            continue


# What an engine without namespaces needs, in the process that is to become the container.


def restrict_writes(places: Sequence[str]) -> None:
    """Allow writes to these places only, and to the files that are standard output and error.

    A program may open those again by name, through /dev/stdout.
    """
    from cwl_userspace.kernel.landlock import restrict_writes as restrict

    streams = [f"/proc/self/fd/{fd}" for fd in (1, 2)]
    restrict([*places, *(s for s in streams if os.path.isfile(s))])


def no_new_groups() -> None:
    """For real root: have the program that is started last find no control group to be writable.

    A runtime that is killed, as ours are, would leave those that it has made.
    """
    try:
        sys_.unshare(sys_.CLONE_NEWNS)
        sys_.mount(None, "/", None, sys_.MS_REC | sys_.MS_SLAVE)
        inroot.set_attributes("/sys/fs/cgroup", sys_.MOUNT_ATTR_RDONLY, recursive=True)
    except (PermissionError, FileNotFoundError):
        # A root without rights can make none, and where they are not mounted there are none.
        pass


def no_streams() -> None:
    """Have neither input nor output: what is to be started last gets them another way."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1):
        os.dup2(null, fd)


def keep_within(network_off: bool) -> None:
    """Have no signal reach a process outside and, with the network off, no abstract socket.

    Where the kernel cannot (Linux below 6.12) this does nothing.
    """
    from cwl_userspace.kernel.landlock import keep_within as keep

    keep(abstract_sockets=network_off)


def untranslated_paths(clones_judged: bool = False) -> None:
    """Have system calls that proot lets through untranslated answer that they do not exist."""
    from cwl_userspace.kernel import seccomp

    seccomp.install(seccomp.untranslated_paths(os.uname().machine, clones_judged))


def no_network() -> None:
    """Have every socket of the internet refused: the network is not to be reached."""
    from cwl_userspace.kernel import seccomp

    seccomp.install(seccomp.no_network(os.uname().machine))


OPERATIONS: dict[str, Callable[..., None]] = {
    "user_namespace": nsidentity.user_namespace,
    "namespaces": sys_.unshare,
    "mapped_user_namespace": nsidentity.mapped_user_namespace,
    "join": nsjoin.join,
    "join_root": nsjoin.join_root,
    "identity": nsidentity.identity,
    "mount_namespace": nsroot.mount_namespace,
    "overlay": nsroot.overlay,
    "assemble": nsroot.assemble,
    "own_tree": nsroot.own_tree,
    "pivot": nsroot.pivot,
    "bind": nsplaces.bind,
    "devices": nsplaces.devices,
    "device": nsplaces.device,
    "process_files": nsplaces.process_files,
    "private_directory": nsplaces.private_directory,
    "directory": nsplaces.directory,
    "shared_directory": nsplaces.shared_directory,
    "private_file": nsplaces.private_file,
    "bound_file": nsplaces.bound_file,
    "remove_placeholder": nsplaces.remove_placeholder,
    "read_only_root": nsroot.read_only_root,
    "drop_capabilities": nsidentity.drop_capabilities,
    "hostname": nsidentity.set_hostname,
    "loopback": sys_.loopback_up,
    "end_with_parent": sys_.set_pdeathsig,
    "no_new_privileges": sys_.set_no_new_privs,
    "filter": nsidentity.install_filter,
    "restrict_writes": restrict_writes,
    "no_streams": no_streams,
    "no_new_groups": no_new_groups,
    "keep_within": keep_within,
    "untranslated_paths": untranslated_paths,
    "no_network": no_network,
}

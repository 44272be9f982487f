"""Who descends from whom, by /proc, and the end of all that does.

Nothing is imported in a function here: in a new root there is no Python to import from.
"""

from __future__ import annotations

import os

from cwl_userspace.kernel import signals
from cwl_userspace.kernel import syscalls as sys_


def first_child(pid: int) -> int:
    """A child of a process, whichever of its threads has it; 0 if it has none."""
    try:
        # Each thread has its own, and of a program in Go any may have started it.
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found = file.read().split()
            if found:
                return int(found[0])
        return 0
    except OSError:  # the process or a thread is gone, or the kernel has no such file
        pass
    return next((child for child, parent in _processes() if parent == pid), 0)


def name_of(pid: int) -> str:
    """What the kernel calls a process (proc(5), comm); nothing for one that is gone."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return os.fsdecode(file.read().rstrip(b"\n"))
    except OSError:
        return ""


def stat_of(pid: int) -> list[bytes]:
    """What proc(5) has in ``stat`` of a process, from its state on; nothing for one that is gone.

    What comes before may hold spaces and parentheses.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def start_of(pid: int) -> str:
    """When a process started, in ticks since boot, by which another of its number is told from it;
    empty for one that is gone.
    """
    return b"".join(stat_of(pid)[19:20]).decode()


def parent_of(pid: int) -> int:
    """The parent of a process; 0 if there is none."""
    return int(b"".join(stat_of(pid)[1:2]) or 0)


def descendants(top: int) -> list[int]:
    """All processes below one, as they are now."""
    children: dict[int, list[int]] = {}
    for pid, parent in _processes():
        children.setdefault(parent, []).append(pid)
    found, todo = [], [top]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def kill_all_below() -> None:
    """Kill all that descends from this subreaper, until nothing is left to be reaped."""
    while _any_left():
        for pid in descendants(os.getpid()):
            send(pid, signals.SIGKILL)
        # A killed process is reaped by its parent or by us; both take a moment.
        sys_.libc().usleep(2000)


def kill_group(leader: int) -> None:
    """Kill a program that has joined a container, whose other processes are not ours to kill."""
    try:
        os.killpg(leader, signals.SIGKILL)
    except ProcessLookupError:
        return


def kill_all_others() -> None:
    """As process 1: kill all in this process name space, and wait for their end."""
    if os.getpid() != 1:  # anywhere else it would be all that the user has on this host
        return kill_all_below()
    try:
        os.kill(-1, signals.SIGKILL)
        while True:
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _any_left() -> bool:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def _processes() -> list[tuple[int, int]]:
    """Every process and its parent."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [(pid, int(fields[1])) for pid in pids if (fields := stat_of(pid))]

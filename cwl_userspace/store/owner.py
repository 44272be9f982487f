"""Whose a file is: a process, named so that those who see the name can tell whether it is alive.

A process id means something in its own name space alone, and a name space in one boot of one
kernel. So whoever shares both looks at the process; for anybody else only signs of life count.
"""

from __future__ import annotations

import os

_LONGEST_HOST = 64
_BOOT_DIGITS = 12
_FIELDS = 5


class Owner:
    """A process: its id, when it started in ticks, its id name space, the boot and the host."""

    __slots__ = ("boot", "host", "pid", "space", "start")

    def __init__(self, pid: int, start: str, space: str, boot: str, host: str) -> None:
        self.pid = pid
        self.start = start
        self.space = space
        self.boot = boot
        self.host = host

    @classmethod
    def me(cls) -> Owner:
        """This process. Never kept for later: a fork is another."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Owner:
        """A process of this name space."""
        return cls(pid, _start(pid), _space(), _boot(), _host())

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """What ``str`` gave of one; None for any other text."""
        parts = text.split(".", _FIELDS - 1)
        if len(parts) != _FIELDS or not parts[0].isdigit() or not all(parts):
            return None
        return cls(int(parts[0]), *parts[1:])

    def __str__(self) -> str:
        return f"{self.pid}.{self.start}.{self.space}.{self.boot}.{self.host}"

    def shown(self) -> str:
        """For a message: where to look for it."""
        return f"process {self.pid} on {self.host}"

    def is_near(self) -> bool:
        """True if its process id means here what it means there."""
        return self.boot == _boot() and self.space == _space()

    def is_of_this_boot(self) -> bool:
        """True if it runs, or ran, under the kernel that runs now."""
        return self.boot == _boot() != "0"

    def is_dead(self) -> bool | None:
        """True or False of a process that can be seen from here, None of any other."""
        if not self.is_near():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass  # another user's: /proc may hide it (hidepid), but it is there
        # Its number may have been given to another since.
        return _start(self.pid) not in (self.start, "0") and self.start != "0"


def private_name() -> str:
    """A name that no other process on any host uses, and that says whose it is."""
    return f"{os.urandom(6).hex()}.{Owner.me()}"


def owner_of(name: str) -> Owner | None:
    """Whose a private name is; None for a name of another kind."""
    return Owner.parse(name.partition(".")[2])


def _start(pid: int) -> str:
    """When a process started; "ended" for one that only its parent remembers, "0" if unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return "ended" if fields[0] in (b"Z", b"X") else fields[19].decode()
    except (OSError, IndexError):
        return "0"


def _space() -> str:
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "0"


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip().replace("-", "")[:_BOOT_DIGITS] or "0"
    except (OSError, UnicodeDecodeError):
        return "0"


def _host() -> str:
    return os.uname().nodename.replace("/", "_")[:_LONGEST_HOST] or "unknown"

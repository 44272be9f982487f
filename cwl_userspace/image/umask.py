"""This process's umask, read without changing it: to change it would change it for all threads."""

from __future__ import annotations


def umask() -> int:
    """The bits that the umask takes away; all of them where it cannot be read."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except (OSError, ValueError):
        pass
    return 0o777

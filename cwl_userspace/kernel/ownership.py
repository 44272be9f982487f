"""Whose a tree is, as far as the kernel asks when a user name space is to change it.

Of a user without rights one uid and one gid are known there. What belongs to others may be read as
its modes say, but is never copied up by an overlay (EOVERFLOW), and not even root in that name
space has any power over it (capable_wrt_inode_uidgid in kernel/capability.c).
"""

from __future__ import annotations

import os


def is_ours(path: str) -> bool:
    """True for what has the caller's own uid and gid, and for real root, whom all obeys."""
    if os.geteuid() == 0:
        return True
    found = os.stat(path)
    return (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())

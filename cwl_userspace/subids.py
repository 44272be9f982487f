"""The user and group ids that this user may give to processes in a user namespace.

Real root has all that there are. Others have their own, and the ranges that /etc/subuid and
/etc/subgid give them (subuid(5)), if the programs of the package uidmap are there.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_PROGRAMS = ("newuidmap", "newgidmap")
_PLACES = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin")
_LEAST = 65536  # 65534 is nobody, whom package managers use


def mappable() -> dict[str, Any]:
    """``uids`` and ``gids`` as `nsidentity.mapped_user_namespace` takes them, and ``programs``.

    The own id becomes 0. ``reason`` says why there are none, and is empty otherwise.
    """
    if os.geteuid() == 0:
        uids, gids = _existing("uid"), _existing("gid")
        few = min(_count(uids), _count(gids)) < _LEAST
        reason = "this root has no other ids to give away" if few else ""
        return {"reason": reason, "uids": uids, "gids": gids, "programs": []}
    programs = [found for name in _PROGRAMS if (found := _program(name))]
    uid_range, gid_range = _range("/etc/subuid"), _range("/etc/subgid")
    if uid_range is None or gid_range is None:
        reason = f"/etc/subuid and /etc/subgid give this user no {_LEAST} ids"
    elif len(programs) < len(_PROGRAMS):
        reason = "the programs newuidmap and newgidmap are not there"
    else:
        return {
            "reason": "",
            "uids": [[0, os.geteuid(), 1], [1, *uid_range]],
            "gids": [[0, os.getegid(), 1], [1, *gid_range]],
            "programs": programs,
        }
    return {"reason": reason, "uids": [], "gids": [], "programs": []}


def _existing(kind: str) -> list[list[int]]:
    """All ids of this namespace, each as itself (user_namespaces(7), uid_map)."""
    with open(f"/proc/self/{kind}_map", encoding="ascii") as table:
        found = [[int(word) for word in line.split()] for line in table]
    return [[inside, inside, count] for inside, _, count in found]


def _count(ranges: list[list[int]]) -> int:
    return sum(count for _, _, count in ranges)


def _range(path: str) -> tuple[int, int] | None:
    """The first range of this user that is long enough: where it starts, and how long it is."""
    for who, first, count in _lines(path):
        if who in _names() and first.isdigit() and count.isdigit() and int(count) >= _LEAST:
            return int(first), int(count)
    return None


def _lines(path: str) -> Iterator[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.strip().split(":")
                if len(fields) == 3:
                    yield fields
    except OSError:
        return


def _names() -> set[str]:
    import pwd

    uid = os.geteuid()
    try:
        return {str(uid), pwd.getpwuid(uid).pw_name}
    except KeyError:
        return {str(uid)}


def _program(name: str) -> str:
    """Looked for where a system has it: what gives ids away is not to come from $PATH."""
    for place in _PLACES:
        path = f"{place}/{name}"
        if os.access(path, os.X_OK):
            return path
    return ""

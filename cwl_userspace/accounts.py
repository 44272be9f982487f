"""passwd(5) and group(5) of an image: who a user is, and the lines that a stranger needs."""

from __future__ import annotations

from cwl_userspace.errors import UsageError
from cwl_userspace.spec import Identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT_PASSWD = "root:x:0:0:root:/root:/bin/sh\n"
ROOT_GROUP = "root:x:0:\n"
_LONGEST_NUMBER = 10  # of 32 bits


class Accounts:
    """The text of the image's /etc/passwd and /etc/group; empty where it has none.

    ``has_apt`` is true where it has a directory for settings of apt, which knows accounts too.
    """

    __slots__ = ("group", "has_apt", "passwd")

    def __init__(self, passwd: str, group: str, has_apt: bool = False) -> None:
        self.passwd = passwd
        self.group = group
        self.has_apt = has_apt


def identify(user: str, accounts: Accounts) -> Identity:
    """Who ``-u`` or the image's USER names: ``name|uid[:name|gid]``, by Docker's rules.

    A number without an account has the group 0 and the home ``/``. Raise UsageError for a name
    that the image does not have.
    """
    who, colon, group = user.partition(":")
    entry = _find(accounts.passwd, who or "0")
    if entry is not None:
        uid, gid = int(entry[2]), int(entry[3])
        name, home = entry[0], entry[5] or "/"
    elif _is_number(who):
        uid, gid, name, home = int(who), 0, "", "/"
    elif who in ("root", ""):
        uid, gid, name, home = 0, 0, "root", "/root"
    else:
        raise UsageError(f"no user {who!r} in the image", "give -u a name that it has, or a number")
    if colon and group:
        gid = _group_number(group, accounts)
    return Identity(uid, gid, name, home, emulate_root=uid == 0)


def caller(uid: int, gid: int, name: str, accounts: Accounts) -> Identity:
    """The calling user's own identity, with the image's name and home for that number if any."""
    entry = _find_number(accounts.passwd, uid)
    if entry is not None:
        return Identity(uid, gid, entry[0], entry[5] or "/", emulate_root=False)
    taken = _find(accounts.passwd, name) is not None
    return Identity(uid, gid, "" if taken else name, "/", emulate_root=False)


def with_identity(accounts: Accounts, identity: Identity) -> Accounts:
    """The same accounts, and a line each for a user and a group that the image does not know."""
    passwd = accounts.passwd or ROOT_PASSWD
    group = accounts.group or ROOT_GROUP
    name = identity.name or f"user{identity.uid}"
    if _find_number(passwd, identity.uid) is None:
        home = identity.home or "/"
        line = f"{name}:x:{identity.uid}:{identity.gid}:{name}:{home}:/bin/sh\n"
        passwd = _terminated(passwd) + line
    if not any(f[2] == str(identity.gid) for f in _fields(group, 3)):
        taken = any(f[0] == name for f in _fields(group, 3))
        group = _terminated(group)
        group += f"{f'group{identity.gid}' if taken else name}:x:{identity.gid}:\n"
    return Accounts(passwd, group)


def _is_number(text: str) -> bool:
    """True for a uid or gid: an image's files may have digits of other scripts, and very many."""
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER


def _terminated(text: str) -> str:
    return text if text.endswith("\n") or not text else text + "\n"


def _fields(text: str, least: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= least and _is_number(fields[2]):
            yield fields


def _find(passwd: str, who: str) -> list[str] | None:
    """The account of a name; a number counts as a name first, as in Docker."""
    for fields in _fields(passwd, 7):
        if fields[0] == who and _is_number(fields[3]):
            return fields
    return _find_number(passwd, int(who)) if _is_number(who) else None


def _find_number(passwd: str, uid: int) -> list[str] | None:
    for fields in _fields(passwd, 7):
        if int(fields[2]) == uid and _is_number(fields[3]):
            return fields
    return None


def _group_number(group: str, accounts: Accounts) -> int:
    for fields in _fields(accounts.group, 3):
        if fields[0] == group:
            return int(fields[2])
    if _is_number(group):
        return int(group)
    if group == "root":
        return 0
    raise UsageError(f"no group {group!r} in the image", "give -u a group that it has, or a number")

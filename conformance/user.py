"""Becomes a user without rights: what root sees pass says nothing of those it is meant for."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from conformance.problem import Problem

# The one that tests/run makes as well.
NAME = "cwl-userspace-test"

# What of the environment goes along: nothing of root's.
_KEPT = ("CI", "LANG", "LC_ALL", "TERM", "CWL_USERSPACE_HOME", "CWL_USERSPACE_OFFLINE")
_PROBE = """
import os, sys
sys.path.insert(0, sys.argv[1])
import conformance.cell, cwl_userspace
os.chdir(sys.argv[2])
os.mkdir(".probe")
os.rmdir(".probe")
"""
_PATH = "/usr/local/bin:/usr/bin:/bin"


def account(name: str, subordinate_ids: bool = False) -> pwd.struct_passwd:
    """The user of this name, made if need be; called by root alone.

    A new one has no subordinate ids, unless they are asked for and the system gives any.
    """
    try:
        return pwd.getpwnam(name)
    except KeyError:
        pass
    # Where root's PATH is a user's, it has no useradd.
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if not useradd:
        raise Problem(
            f"there is no user '{name}', and no useradd to make it with",
            "name one that there is: --user NAME, or run this as a user without rights",
        )
    limits = [] if subordinate_ids else ["-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0"]
    done = subprocess.run(
        [useradd, "--create-home", *limits, name], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Problem(
            f"could not make the user '{name}': {done.stderr.strip()}",
            "name one that there is: --user NAME, or run this as a user without rights",
        )
    return pwd.getpwnam(name)


def go_on_as(
    name: str,
    words: Sequence[str],
    writable: Path,
    variables: Sequence[str],
    subordinate_ids: bool = False,
) -> None:
    """Runs this Python with these words as that user, in place of this process.

    The folder becomes the user's. Raises a Problem if the user cannot get at this Python, at this
    checkout or at the folder.
    """
    entry = account(name, subordinate_ids)
    writable.mkdir(parents=True, exist_ok=True)
    shutil.chown(writable, entry.pw_uid, entry.pw_gid)
    environment = {one: os.environ[one] for one in (*_KEPT, *variables) if one in os.environ}
    environment |= {
        "HOME": entry.pw_dir,
        "USER": name,
        "PATH": f"{Path(sys.executable).parent}:{_PATH}",
    }
    _try(entry, environment, writable)
    print(f"running as the user '{name}', who has no rights", file=sys.stderr)
    sys.stderr.flush()
    os.initgroups(name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.execve(sys.executable, [sys.executable, *words], environment)


def _try(entry: pwd.struct_passwd, environment: Mapping[str, str], writable: Path) -> None:
    """Raises a Problem unless the user can import what is needed and write into the folder."""
    top = Path(__file__).parent.parent
    tried = subprocess.run(
        [sys.executable, "-c", _PROBE, str(top), str(writable)],
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode != 0:
        said = (tried.stderr.strip() or "no word").splitlines()[-1]
        raise Problem(
            f"the user '{entry.pw_name}' cannot run this, with '{sys.executable}' in '{top}',"
            f" into '{writable}': {said}",
            "put checkout, environment and --output where every user may read: not below /root",
        )

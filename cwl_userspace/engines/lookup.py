"""Find the program of a container before it starts, as execvp(3) would inside."""

from __future__ import annotations

import os
import posixpath
import stat

from cwl_userspace.errors import CommandNotExecutable, CommandNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cwl_userspace.engines.view import View

_HINT = "see what it has with cwl-userspace run IMAGE ls"


def find_program(view: View, argv: Sequence[str], path: str, working_dir: str) -> str:
    """The place in the container of the program that ``argv`` names.

    Raise CommandNotFound (127) if there is none and CommandNotExecutable (126) if it cannot be
    executed, as Docker does.
    """
    name = argv[0]
    if "/" in name:
        places = [posixpath.join(working_dir, name)]
    else:
        places = [
            posixpath.join(working_dir, directory or ".", name) for directory in path.split(":")
        ]
    unusable = ""
    for place in places:
        found = view.resolve(place)
        try:
            mode = os.stat(view.host(found), follow_symlinks=False).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and mode & 0o111:
            return place
        unusable = "it is not a program" if not stat.S_ISREG(mode) else "permission denied"
    if unusable:
        raise CommandNotExecutable(f"cannot execute {name!r}: {unusable}", _HINT)
    where = "" if "/" in name else f" on PATH {path}"
    raise CommandNotFound(f"no program {name!r} in the image{where}", _HINT)

"""``shim``: write executables of other people's names, which call this installation.

Such a file is found on PATH by a program that knows nothing of us, with whatever environment that
gives it: so it names its interpreter and takes no module from where it is called.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.itself import find_package
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import UsageError

OPTIONS = (
    Option("--dir", VALUE, "where to write them; made if it is not there", "DIR"),
    Option("-f --force", FLAG, "replace files that are not ours, too"),
    Option("--help", FLAG, "show this text"),
)
# The module that answers each name; its ``entry`` is called with the name.
NAMES = {
    "docker": "docker",
    "podman": "docker",
    "udocker": "udocker",
    "dx-docker": "dx_docker",
    "plurality": "plurality",
    "singularity": "singularity",
    "apptainer": "singularity",
}
_MARK = "answered by cwl-userspace; made by: cwl-userspace shim"
# $python is the interpreter, seen from this file where both may be moved together.
_SCRIPT = """\
#!/bin/sh
# {name}, {mark} {name}
python={python}
{moved}if [ ! -x "$python" ]; then
    printf '%s\\n' "{name}: cwl-userspace is no longer at $python; make this file again with its\
 command shim" >&2
    exit 125
fi
exec "$python" -I -c {code} "$@"
"""
_MOVED = '[ -x "$python" ] || python=${{0%/*}}/{relative}\n'


def command(context: Context, argv: Sequence[str]) -> int:
    """Write an executable for each name, and print the line that puts them first on PATH."""
    words = parse("shim", OPTIONS, argv)
    if words.flag("help"):
        return show("shim", f"{'|'.join(NAMES)}... --dir DIR", OPTIONS)
    names = list(dict.fromkeys(words.arguments))
    for name in names or [""]:
        if name not in NAMES:
            raise UsageError(f"shim has no name {name!r}", f"known are {', '.join(NAMES)}")
    place = _directory(words.value("dir"))
    paths = {name: os.path.join(place, name) for name in names}
    for path in paths.values():
        _check(path, words.flag("force"))
    for name, path in paths.items():
        _write(path, _script(name, place))
    print(f"# {' and '.join(names)} made; this puts {'it' if len(names) == 1 else 'them'} first:")
    sys.stdout.flush()
    os.write(1, os.fsencode(f'export PATH={shlex.quote(place)}:"$PATH"\n'))
    return 0


def _directory(text: str) -> str:
    if not text:
        raise UsageError("shim needs a directory", "name it with --dir; it goes first on PATH")
    place = os.path.abspath(text)
    if ":" in place:
        raise UsageError(
            f"the directory {place!r} cannot be on PATH", "choose one without a colon in its name"
        )
    try:
        os.makedirs(place, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the directory {place!r} cannot be made: {error.strerror}", "choose another --dir"
        ) from None
    return place


def _check(path: str, force: bool) -> None:
    """Raise UsageError for what must not be replaced."""
    if not os.path.lexists(path):
        return
    if os.path.isdir(path) and not os.path.islink(path):
        raise UsageError(f"{path!r} is a directory", "choose another --dir")
    if not force and not _is_ours(path):
        raise UsageError(f"{path!r} is there and not ours", "choose another --dir, or give --force")


def _is_ours(path: str) -> bool:
    if os.path.islink(path):
        return False
    try:
        with open(path, "rb") as file:
            return _MARK.encode() in file.read(200)
    except OSError:
        return False


def _write(path: str, text: str) -> None:
    aside = f"{path}.{os.getpid()}.part"
    try:
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o777)
        try:
            with open(fd, "wb") as file:
                file.write(os.fsencode(text))
            os.replace(aside, path)
        except BaseException:
            os.unlink(aside)
            raise
    except OSError as error:
        raise UsageError(
            f"{path!r} cannot be written: {error.strerror}", "choose another --dir"
        ) from None


def _script(name: str, place: str) -> str:
    """The text of the executable; every path in it is quoted for the shell."""
    if not sys.executable:
        raise UsageError("this Python does not know where it is", "start it by its path")
    moved = ""
    relative = _relative(place)
    if relative:
        moved = _MOVED.format(relative=shlex.quote(relative))
    code = f"{find_package()}from cwl_userspace.shims.{NAMES[name]} import entry; entry({name!r})"
    return _SCRIPT.format(
        name=name,
        mark=_MARK,
        python=shlex.quote(sys.executable),
        moved=moved,
        code=shlex.quote(code),
    )


def _relative(place: str) -> str:
    """Where the interpreter is from there, if both are in one virtual environment."""
    real = os.path.realpath(place)
    if not real.startswith(os.path.join(os.path.realpath(sys.prefix), "")):
        return ""
    folder, program = os.path.split(sys.executable)
    return os.path.relpath(os.path.join(os.path.realpath(folder), program), real)

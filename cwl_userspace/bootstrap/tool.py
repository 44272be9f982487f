"""debootstrap: found on this host, or fetched by apt-get, which needs no rights to fetch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

from cwl_userspace.errors import EngineError, Offline
from cwl_userspace.store.modes import make_directories
from cwl_userspace.store.store import Store
from cwl_userspace.store.workspace import workspace

_NAME = "debootstrap"
_PLACE = f"tools/{_NAME}"
# It is an administrator's program, which is not on everybody's PATH.
_ADMINISTRATORS = "/usr/local/sbin:/usr/sbin:/sbin"
_HINT = "install debootstrap, or unpack its package and put it on PATH"


class Tool(NamedTuple):
    """A debootstrap: the program, and the directory with its functions and scripts."""

    program: str
    directory: str


def find(environ: Mapping[str, str]) -> Tool | None:
    """The one on PATH, if there is any."""
    path = f"{environ.get('PATH', os.defpath)}:{_ADMINISTRATORS}"
    program = shutil.which(_NAME, path=path)
    if program is None:
        return None
    top = os.path.dirname(os.path.dirname(os.path.realpath(program)))
    for directory in (os.path.join(top, "share", _NAME), f"/usr/share/{_NAME}"):
        if os.path.exists(os.path.join(directory, "functions")):
            return Tool(program, directory)
    return None


def fetched(store: Store, environ: Mapping[str, str], offline: bool) -> Tool:
    """The one that is kept below the store, fetched if it is not there.

    apt-get checks the package's signatures. Raise Offline, or EngineError with what is missing.
    """
    store.prepare()
    place = os.path.join(store.path, _PLACE)
    if not os.path.isdir(place):
        if offline:
            raise Offline(f"there is no {_NAME} here, and the network must not be asked", _HINT)
        make_directories(store.path, ("tools",))
        with workspace(store) as private:
            _unpack(private, environ)
            # If somebody else was as fast, his is as good.
            store.publish(os.path.join(private, "unpacked"), _PLACE)
    usr = os.path.join(place, "usr")
    return Tool(os.path.join(usr, "sbin", _NAME), os.path.join(usr, "share", _NAME))


def _unpack(private: str, environ: Mapping[str, str]) -> None:
    said = ""
    for words in (["apt-get", "-q", "download", _NAME], ["dpkg-deb", "-x", "", "unpacked"]):
        if shutil.which(words[0], path=environ.get("PATH")) is None:
            raise EngineError(f"there is no {_NAME} here, and no {words[0]} to get it", _HINT)
        packages = [name for name in os.listdir(private) if name.endswith(".deb")]
        words = [word or packages[0] for word in words] if packages else words
        done = subprocess.run(
            words, cwd=private, stdin=subprocess.DEVNULL, capture_output=True, env=dict(environ)
        )
        said = " ".join(done.stderr.decode(errors="replace").split())
        if done.returncode:
            raise EngineError(f"{_NAME} cannot be fetched: {said}", _HINT)
    if not os.path.exists(os.path.join(private, "unpacked", "usr", "sbin", _NAME)):
        raise EngineError(f"{_NAME}'s package has no such program; {said}", _HINT)

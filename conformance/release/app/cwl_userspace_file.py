"""Has the packages in the single file unpacked where Python can import them, once for each Python.

A compiled module can be loaded from no archive, and what is imported from one is compiled again at
each start. Everything goes to a directory of its own name, made aside and renamed, so that any
number of processes may do this at once. Nothing is imported here that a start can do without.
"""

from __future__ import annotations

import os
import sys

# Python gives a module of an archive a path that goes through the archive.
ARCHIVE = os.path.dirname(os.path.abspath(__file__))
# Put in when the file is made: the version, and the beginning of a digest over what is packed.
EDITION = ""
WHERE = "CWL_USERSPACE_UNPACKED"
_OURS = 125


def use() -> None:
    """Have imports find what is packed in this file; end the process where that cannot be."""
    chosen = os.environ.get(WHERE, "")
    above = chosen or os.path.join(_cache(), "cwl-userspace-app")
    tag = f"{sys.implementation.cache_tag}-{os.uname().machine}"
    place = os.path.join(above, f"{EDITION}-{tag}")
    try:
        owner = os.stat(place).st_uid
    except OSError:
        _unpack(place, tag)
    else:
        if not chosen and owner not in (0, os.getuid()):
            _end(f"{place} belongs to another user", f"name another directory by ${WHERE}")
    if sys.path[:1] == [ARCHIVE]:
        del sys.path[0]
    sys.path.insert(0, place)


def _cache() -> str:
    """The user's directory for caches; some callers start us without HOME."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):
        return named
    home = os.environ.get("HOME", "")
    if not os.path.isabs(home):
        import pwd

        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            _end("HOME is not set and this user has no account", f"set HOME or ${WHERE}")
    return os.path.join(home, ".cache")


def _unpack(place: str, tag: str) -> None:
    import shutil
    import tempfile

    above = os.path.dirname(place)
    try:
        os.makedirs(above, exist_ok=True)
        aside = tempfile.mkdtemp(".part", "", above)
        try:
            _extract(aside, tag)
            os.chmod(aside, 0o755)
            if not os.path.isdir(place):  # what comes second goes
                os.rename(aside, place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        if not os.path.isdir(place):
            said = f"{ARCHIVE} cannot be unpacked to {above}: {error.strerror or error}"
            _end(said, f"name a directory that you can write by ${WHERE}")


def _extract(aside: str, tag: str) -> None:
    import tarfile
    import zipfile

    with zipfile.ZipFile(ARCHIVE) as archive:
        for name in ("common", tag):
            try:
                packed = archive.open(f"{name}.tar.xz")
            except KeyError:  # this Python's own packages may have what is compiled
                continue
            with packed, tarfile.open(fileobj=packed, mode="r|xz") as tar:
                for member in tar:
                    tar.extract(member, aside)
    sys.path.insert(0, aside)
    try:
        import zstandard  # noqa: F401
    except ImportError:
        _end(
            f"no compiled modules for {tag} are in {ARCHIVE}",
            "use a CPython from 3.10 to 3.14 on x86_64 or aarch64 with glibc, or pip install "
            "cwl-userspace",
        )
    finally:
        sys.path.remove(aside)


def _end(problem: str, hint: str) -> None:
    sys.stderr.write(f"cwl-userspace: {problem}; {hint}\n")
    sys.exit(_OURS)

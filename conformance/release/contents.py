"""Checks what is to be published: that it holds all that it should, and nothing else.

usage: python -m conformance.release.contents DIRECTORY TRACKED

TRACKED is a file with the names of all files of the repository, one a line.
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from pathlib import Path

import cwl_userspace

_TOP = Path(__file__).parents[2]
_UNPUBLISHED = (".ci/", ".git")
_MANUALS = "docs/man/man1/"


def main(directory: Path, tracked: set[str]) -> list[str]:
    """What is wrong with the archives in a directory, in sentences."""
    (wheel,) = directory.glob("*.whl")
    (source,) = directory.glob("*.tar.gz")
    wanted = {name for name in tracked if not name.startswith(_UNPUBLISHED)}
    found = [f"{wheel.name} {text}" for text in _differences(_in_wheel(wanted), _of_wheel(wheel))]
    found += [f"{source.name} {text}" for text in _differences(wanted, _of_source(source))]
    return [*found, *versions()]


def versions() -> list[str]:
    """What names another version than the package."""
    version = cwl_userspace.__version__
    said = {
        "CHANGELOG.rst": r"^(\S+) \([^)]*\)\n-+$",
        "CITATION.cff": r"^version: (\S+)$",
    }
    wrong = []
    for name, pattern in said.items():
        first = re.search(pattern, (_TOP / name).read_text("utf-8"), re.MULTILINE)
        if first is None or first[1] != version:
            wrong.append(f"{name} is of {first and first[1]}, and the package of {version}")
    return wrong


def _in_wheel(tracked: set[str]) -> set[str]:
    modules = {name for name in tracked if name.startswith("cwl_userspace/")}
    manuals = {f"share/man/man1/{name[len(_MANUALS) :]}" for name in tracked if _MANUALS in name}
    return modules | manuals


def _of_wheel(path: Path) -> set[str]:
    """The names of a wheel, those of data as they are installed, without its metadata."""
    with zipfile.ZipFile(path) as archive:
        names = [re.sub(r"^[^/]+\.data/data/", "", name) for name in archive.namelist()]
    return {name for name in names if ".dist-info/" not in name}


def _of_source(path: Path) -> set[str]:
    """The names of a source archive, without what setuptools adds."""
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    return {name for name in names if name != "PKG-INFO" and ".egg-info/" not in name}


def _differences(wanted: set[str], found: set[str]) -> list[str]:
    return [f"lacks {name}" for name in sorted(wanted - found)] + [
        f"has {name}, which nobody wants" for name in sorted(found - wanted)
    ]


if __name__ == "__main__":
    problems = main(Path(sys.argv[1]), set(Path(sys.argv[2]).read_text("utf-8").splitlines()))
    sys.exit("\n".join(problems) or 0)

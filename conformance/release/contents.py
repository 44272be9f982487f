"""Checks what is to be published: that it holds all that it should, and nothing else.

usage: python -m conformance.release.contents DIRECTORY TRACKED

TRACKED is a file with the names of all files of the repository, one a line.
"""

from __future__ import annotations

import re
import sys
import tarfile
import tempfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import cwl_userspace
from conformance.release import described

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
    found += [f"{wheel.name} refers to {text}, which an index has not" for text in _dead(wheel)]
    return [*found, *versions()]


def versions(top: Path = _TOP) -> list[str]:
    """What names another version than the package, or another day than the changelog's."""
    version = cwl_userspace.__version__
    changelog, citation, readme = (
        (top / name).read_text("utf-8") for name in ("CHANGELOG.rst", "CITATION.cff", "README.rst")
    )
    headings = re.findall(r"^(\S+) \((\S+)\)\n-+$", changelog, re.MULTILINE)
    newest, day = headings[0] if headings else ("", "")
    said = {
        "CHANGELOG.rst": [newest],
        "CITATION.cff": re.findall(r"^version: (\S+)$", citation, re.MULTILINE),
        "README.rst": re.findall(r"cwl-userspace-(\d\S*)\.pyz", readme),
    }
    wrong = [
        f"{name} is of {', '.join(names) or 'none'}, and the package of {version}"
        for name, names in said.items()
        if set(names) != {version}
    ]
    if day != "unreleased" and not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
        wrong.append(f"CHANGELOG.rst has '{day}' for a day, and not YYYY-MM-DD or unreleased")
    days = re.findall(r"^date-released: (\S+)$", citation, re.MULTILINE)
    if days != ([] if day == "unreleased" else [day]):
        wrong.append(
            f"CITATION.cff is of {', '.join(days) or 'no day'}, and CHANGELOG.rst of {day}"
        )
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


def _dead(wheel: Path) -> list[str]:
    """What the long description refers to that is not there where an index shows it."""
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as place:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        description = Path(place, "description.rst")
        description.write_text(str(message_from_bytes(archive.read(name)).get_payload()), "utf-8")
        return described.relative(description)


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

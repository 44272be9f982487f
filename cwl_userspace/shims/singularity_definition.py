"""A definition of an image: headers, and sections that begin with a ``%`` at the line's beginning.

The language is that of singularity's manual ("Definition Files"). What is written between two
braces is a build argument.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from cwl_userspace.errors import DockerfileError

SECTIONS = frozenset("help setup files labels environment post runscript test startscript".split())
APP_SECTIONS = frozenset(
    "apprun appinstall applabels appenv apphelp appfiles appstart apptest".split()
)
_ARGUMENTS = "arguments"
_HEADER = re.compile(r"^\s*([A-Za-z]+)\s*:\s*(.*?)\s*$")
_BEGIN = re.compile(r"^\s*bootstrap\s*:", re.IGNORECASE)
_SECTION = re.compile(r"^%(\w+)\s*(.*?)\s*$")
_ARGUMENT = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class Section(NamedTuple):
    """One section: its name, what stands behind that, its lines, and the line where it begins."""

    name: str
    words: str
    text: str
    line: int


class Stage(NamedTuple):
    """One image on the way: its headers, in lower case, and its sections in order."""

    headers: Mapping[str, str]
    sections: tuple[Section, ...]
    line: int

    def all(self, name: str) -> list[Section]:
        """The sections of a name."""
        return [section for section in self.sections if section.name == name]

    def text(self, name: str) -> str:
        """What all sections of a name say; empty if there is none."""
        return "".join(section.text for section in self.all(name))


def parse(text: str, label: str, given: Mapping[str, str]) -> list[Stage]:
    """The stages of a definition; ``given`` are build arguments. Raise DockerfileError."""
    lines = text.splitlines()
    begins = [number for number, line in enumerate(lines) if _BEGIN.match(line)]
    if not begins:
        raise DockerfileError(f"{label} has no line Bootstrap:", "expected a definition")
    # What comes before the first, a comment mostly, is a part of it.
    ends = [*begins[1:], len(lines)]
    starts = [0, *begins[1:]]
    defaults = _arguments(lines)
    filled = [_filled(line, {**defaults, **given}, label, n) for n, line in enumerate(lines, 1)]
    return [_stage(filled[a:b], a, label) for a, b in zip(starts, ends, strict=True)]


def _arguments(lines: list[str]) -> dict[str, str]:
    """The defaults that sections ``%arguments`` give."""
    found: dict[str, str] = {}
    inside = False
    for line in lines:
        begun = _SECTION.match(line)
        inside = begun.group(1) == _ARGUMENTS if begun else inside and not _BEGIN.match(line)
        name, equals, value = line.strip().partition("=")
        if inside and equals and not line.lstrip().startswith("#"):
            found[name.strip()] = value.strip().strip("\"'")
    return found


def _filled(line: str, values: Mapping[str, str], label: str, number: int) -> str:
    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in values:
            raise DockerfileError(
                f"{label}:{number}: {name!r} has no value", f"give it with --build-arg {name}=..."
            )
        return values[name]

    return _ARGUMENT.sub(value, line)


def _stage(lines: list[str], offset: int, label: str) -> Stage:
    headers: dict[str, str] = {}
    found: list[tuple[str, str, list[str], int]] = []
    for number, line in enumerate(lines, offset + 1):
        begun = _SECTION.match(line)
        if begun:
            name = begun.group(1)
            if name not in SECTIONS | APP_SECTIONS | {_ARGUMENTS}:
                known = ", ".join(sorted(SECTIONS | APP_SECTIONS))
                raise DockerfileError(f"{label}:{number}: no section %{name}", f"known are {known}")
            found.append((name, begun.group(2), [], number))
        elif found:
            found[-1][2].append(line)
        else:
            _header(line, headers, label, number)
    sections = (Section(n, w, "".join(f"{b}\n" for b in body), at) for n, w, body, at in found)
    kept = tuple(section for section in sections if section.name != _ARGUMENTS)
    return Stage(headers, kept, offset + 1)


def _header(line: str, headers: dict[str, str], label: str, number: int) -> None:
    if not line.strip() or line.lstrip().startswith("#"):
        return
    matched = _HEADER.match(line)
    if matched is None:
        raise DockerfileError(
            f"{label}:{number}: {line.strip()!r:.60} is no header", "expected NAME: VALUE"
        )
    headers[matched.group(1).lower()] = matched.group(2)

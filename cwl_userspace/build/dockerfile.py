"""Read a Dockerfile: its text becomes instructions, with the line where each begins.

dockerfile-parse joins lines, drops comments and knows the escape directive. What it gets wrong
is set right around it: here-documents, which it reads as instructions; empty lines, which end a
continued line for it; two escapes at the end of a line, which continue nothing; a last line that
is continued by nothing, which it drops; and lines that are no instruction, which it passes over.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from cwl_userspace.build.words import split
from cwl_userspace.errors import DockerfileError

KEYWORDS = frozenset(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL"
    " STOPSIGNAL USER VOLUME WORKDIR".split()
)
_WITH_HEREDOCS = ("ADD", "COPY", "RUN")
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$")
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<\s]+)$")
# A private character that keeps two escapes from being at the end of a line.
_GUARD = "\ue000"


class Heredoc(NamedTuple):
    """A here-document: its name, its lines as they stand, and how they are to be read."""

    name: str
    raw: str
    expand: bool
    chomp: bool

    @property
    def text(self) -> str:
        """The lines, without leading tabs where ``<<-`` was written."""
        return re.sub(r"(?m)^\t+", "", self.raw) if self.chomp else self.raw


class Instruction(NamedTuple):
    """One instruction; ``value`` is the text behind the keyword, its lines joined."""

    keyword: str
    value: str
    line: int
    heredocs: tuple[Heredoc, ...] = ()

    def __str__(self) -> str:
        return f"{self.keyword} {self.value}"


class Dockerfile(NamedTuple):
    """A whole file: how messages name it, its instructions, and its escape character."""

    name: str
    instructions: tuple[Instruction, ...]
    escape: str

    def error(self, line: int, message: str, hint: str) -> DockerfileError:
        """The error for an instruction at a line."""
        return DockerfileError(f"line {line} of {self.name}: {message}", hint)


def parse(content: bytes, name: str) -> Dockerfile:
    """Read a Dockerfile; raise DockerfileError with the line of what is none."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DockerfileError(f"{name} is not UTF-8", "expected a Dockerfile") from None
    lines = text.replace("\r\n", "\n").split("\n")
    if _GUARD in text or "\0" in text:
        raise DockerfileError(f"{name} has characters that no text has", "expected a Dockerfile")
    escape = _escape(lines, name)
    masked = _without_pitfalls(lines, escape)
    found: dict[int, tuple[Heredoc, ...]] = {}
    while True:
        entries = _entries(masked)
        entry = next(
            (e for e in entries if e["startline"] not in found and _openers(e, escape)), {}
        )
        if not entry:
            break
        found[entry["startline"]] = _heredocs(entry, lines, masked, escape, name)
    _check_lines(entries, masked, name)
    instructions = tuple(
        _instruction(entry, found.get(entry["startline"], ()), name)
        for entry in entries
        if entry["instruction"] != "COMMENT"
    )
    if not instructions:
        raise DockerfileError(f"{name} has no instruction", "expected FROM first")
    return Dockerfile(name, instructions, escape)


def is_heredoc(word: str) -> bool:
    """True if a word of an instruction opens a here-document."""
    return _HEREDOC.match(word) is not None


def _escape(lines: Sequence[str], name: str) -> str:
    """What the directives at the top say (Dockerfile reference, "Parser directives")."""
    for number, line in enumerate(lines, 1):
        match = _DIRECTIVE.match(line.strip())
        if match is None:
            break
        if match[1].lower() == "escape":
            if match[2] not in ("\\", "`"):
                raise DockerfileError(
                    f"line {number} of {name}: the escape character is {match[2]!r}",
                    "expected \\ or `",
                )
            return match[2]
    return "\\"


def _without_pitfalls(lines: Sequence[str], escape: str) -> list[str]:
    """Lines that dockerfile-parse reads as Docker reads the given ones."""
    masked = [line if line.strip() else "#" for line in lines]
    for number, line in enumerate(masked):
        bare = line.rstrip(" \t")
        if bare.endswith(escape * 2):
            masked[number] = bare + _GUARD
    last = max((n for n, line in enumerate(masked) if not line.lstrip().startswith("#")), default=0)
    masked[last] = masked[last].rstrip(" \t").removesuffix(escape)
    return masked


def _entries(masked: Sequence[str]) -> list[dict[str, Any]]:
    from dockerfile_parse import DockerfileParser

    parser = DockerfileParser(fileobj=io.BytesIO("\n".join(masked).encode()))
    entries: list[dict[str, Any]] = parser.structure
    for entry in entries:
        entry["value"] = entry["value"].replace(_GUARD, "").strip()
    return sorted(entries, key=lambda entry: int(entry["startline"]))


def _openers(entry: dict[str, Any], escape: str) -> list[re.Match[str]]:
    """The words ``<<NAME`` of an instruction that can have here-documents."""
    keyword, value = entry["instruction"], entry["value"]
    if keyword == "ONBUILD":
        keyword, _, value = value.partition(" ")
    if keyword.upper() not in _WITH_HEREDOCS:
        return []
    return [match for word in split(value, escape) if (match := _HEREDOC.match(word))]


def _heredocs(
    entry: dict[str, Any], lines: Sequence[str], masked: list[str], escape: str, name: str
) -> tuple[Heredoc, ...]:
    """Take the documents that follow an instruction, in order; their lines become comments."""
    at = entry["endline"] + 1
    found = []
    for opener in _openers(entry, escape):
        chomp, word = bool(opener[2]), opener[3]
        end = word.replace("'", "").replace('"', "")
        body = []
        while at < len(lines):
            line = lines[at]
            masked[at] = "#"
            at += 1
            if (line.lstrip("\t") if chomp else line) == end:
                break
            body.append(line + "\n")
        else:
            raise DockerfileError(
                f"line {entry['startline'] + 1} of {name}: the here-document {end} has no end",
                f"expected a line with nothing but {end}",
            )
        found.append(Heredoc(end, "".join(body), word == end, chomp))
    return tuple(found)


def _check_lines(entries: Sequence[dict[str, Any]], masked: Sequence[str], name: str) -> None:
    known: set[int] = set()
    for entry in entries:
        known.update(range(entry["startline"], entry["endline"] + 1))
    for number, line in enumerate(masked):
        if number not in known and line.strip():
            word = line.strip()[:60]
            raise DockerfileError(
                f"line {number + 1} of {name}: {word!r} is no whole instruction",
                f"expected one of {', '.join(sorted(KEYWORDS))}, and what it needs",
            )


def _instruction(entry: dict[str, Any], heredocs: tuple[Heredoc, ...], name: str) -> Instruction:
    keyword, line = entry["instruction"].upper(), entry["startline"] + 1
    if keyword not in KEYWORDS:
        raise DockerfileError(
            f"line {line} of {name}: no instruction {entry['instruction']!r}",
            f"the instructions: {', '.join(sorted(KEYWORDS))}",
        )
    if not entry["value"]:
        raise DockerfileError(f"line {line} of {name}: {keyword} is empty", "say what it is about")
    if keyword == "ONBUILD":  # read again, with its documents, where it is done
        documents = "".join(f"\n{one.raw}{one.name}" for one in heredocs)
        return Instruction(keyword, entry["value"] + documents, line)
    return Instruction(keyword, entry["value"], line, heredocs)

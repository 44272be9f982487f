"""Docker's patterns: those of COPY and ADD (Go's filepath.Match), and those of .dockerignore."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

_CLASS = re.compile(r"\[(\^?)((?:\\.|[^\]\\])+)\]", re.DOTALL)
_IN_CLASS = re.compile(r"\\?(.)(?:-\\?(.))?", re.DOTALL)


def is_pattern(part: str) -> bool:
    """True if a step of a path can match names other than its own."""
    return any(character in part for character in "*?[\\")


def step(part: str) -> re.Pattern[str]:
    """One step of a path as a regular expression for a whole name."""
    return re.compile(_translated(part), re.DOTALL)


def _translated(pattern: str) -> str:
    """The regular expression of a pattern; ``**`` matches any number of steps, with their ``/``."""
    result, at = "", 0
    while at < len(pattern):
        character = pattern[at]
        if pattern.startswith("**", at):
            at += 2
            if pattern.startswith("/", at):
                at += 1
                result += "(?:.*/)?"
            else:
                result += ".*"
            continue
        found = _CLASS.match(pattern, at)
        if character == "*":
            result += "[^/]*"
        elif character == "?":
            result += "[^/]"
        elif found:
            result += _class(found[2], bool(found[1]))
            at = found.end()
            continue
        elif character == "\\" and at + 1 < len(pattern):
            at += 1
            result += re.escape(pattern[at])
        else:
            result += re.escape(character)
        at += 1
    return result


def _class(members: str, negated: bool) -> str:
    """Any of some characters, and ranges of them; one that ends before it begins has none."""
    pairs = ((first, last or first) for first, last in _IN_CLASS.findall(members))
    ranges = [f"{re.escape(one)}-{re.escape(other)}" for one, other in pairs if one <= other]
    if not ranges:
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{''.join(ranges)}]"


class Ignored:
    """What a .dockerignore leaves out (Dockerfile reference, ".dockerignore file").

    The last pattern that matches a name, or a directory above it, decides; ``!`` takes back in.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for line in lines:
            text = line.strip()
            if not text or line.startswith("#"):
                continue
            takes_back = text.startswith("!")
            pattern = posixpath.normpath(text[1:].strip() if takes_back else text).lstrip("/")
            if pattern not in ("", "."):
                self._rules.append((takes_back, re.compile(_translated(pattern), re.DOTALL)))
        self.takes_back = any(takes_back for takes_back, _ in self._rules)

    def __contains__(self, name: object) -> bool:
        """True if a name, relative to the context, is left out."""
        parts = str(name).split("/")
        prefixes = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        ignored = False
        for takes_back, pattern in self._rules:
            if ignored == takes_back and any(pattern.fullmatch(prefix) for prefix in prefixes):
                ignored = not takes_back
        return ignored

"""Text as reStructuredText."""

from __future__ import annotations

import re

# What has a meaning of its own within a line.
_MARKS = re.compile(r"([\\`*|]|_(?!\w)|(?<!\w)_)")
MADE = ".. Made by python -m conformance.docs; do not edit."


def heading(text: str, line: str) -> list[str]:
    """A title with its underline, and the empty line that follows."""
    return [text, line * len(text), ""]


def escaped(text: str) -> str:
    """Text in which nothing is markup."""
    return _MARKS.sub(r"\\\1", text)

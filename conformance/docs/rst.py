"""Text as reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What has a meaning of its own within a line.
_MARKS = re.compile(r"([\\`*|]|_(?!\w)|(?<!\w)_)")
MADE = ".. Made by python -m conformance.docs; do not edit."


def heading(text: str, line: str) -> list[str]:
    """A title with its underline, and the empty line that follows."""
    return [text, line * len(text), ""]


def simple_table(rows: Sequence[Sequence[str]]) -> str:
    """A table that reads well as plain text, too; its first row is the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule]) + "\n"


def list_table(rows: Sequence[Sequence[str]]) -> str:
    """A table that needs no widths that fit, and no escape for an empty cell; first is the head."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        for column, cell in enumerate(row):
            lines.append(f"   {' ' if column else '*'} - {cell}".rstrip())
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text in which nothing is markup."""
    return _MARKS.sub(r"\\\1", text)

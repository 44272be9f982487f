"""Rows under titles, as wide as they must be, and sizes as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def table(titles: Mapping[str, str], rows: Sequence[Mapping[str, str]]) -> str:
    """The text of a table; ``titles`` says which values of a row are shown, in which order."""
    lines = [titles, *rows]
    widths = {key: max(len(line[key]) for line in lines) for key in titles}
    shown = ("   ".join(line[key].ljust(widths[key]) for key in titles) for line in lines)
    return "".join(f"{line.rstrip()}\n" for line in shown)


def human_size(size: float) -> str:
    """A number of bytes in decimal units, as Docker shows it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g}{unit}"
        size /= 1000
    return f"{size:.3g}TB"

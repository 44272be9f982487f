"""Draws a badge for each suite: an SVG of our own, so that no other host is asked to show it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from conformance.results import Result
from conformance.sources import HOMES

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{text}">
<title>{text}</title>
<rect width="{width}" height="20" rx="3" fill="#555"/>
<path d="M{split} 0h{right}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right}z" fill="{colour}"/>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{left_middle}" y="14">{label}</text>
<text x="{right_middle}" y="14">{message}</text>
</g>
</svg>
"""
_GREEN, _YELLOW, _GREY = "#2c8a2c", "#a87b00", "#777"


def svg(label: str, message: str, colour: str) -> str:
    """A badge with two words or more; as wide as Verdana of 11 pixels mostly is."""
    left, right = (round(6.6 * len(text)) + 10 for text in (label, message))
    return _SVG.format(
        text=f"{label}: {message}",
        label=label,
        message=message,
        colour=colour,
        width=left + right,
        split=left,
        right=right - 3,
        left_middle=left / 2,
        right_middle=left + right / 2,
    )


def of_suite(suite: str, results: Iterable[Result]) -> str:
    """What the worst of the whole runs through our doors has passed, and how many there were."""
    whole = [
        one for one in results if one.suite == suite and one.only == "all" and not one.baseline
    ]
    label = f"CWL {suite}"
    if not whole:
        return svg(label, "not run in full", _GREY)
    worst = min(whole, key=lambda one: one.passed / one.selected)
    ways = "1 way" if len(whole) == 1 else f"{len(whole)} ways"
    all_good = all(one.passed == one.selected for one in whole)
    message = f"{worst.passed} of {worst.selected}, {ways}"
    return svg(label, message, _GREEN if all_good else _YELLOW)


def write(results: Iterable[Result], folder: Path) -> None:
    known = list(results)
    folder.mkdir(parents=True, exist_ok=True)
    for suite in HOMES:
        (folder / f"cwl-{suite}.svg").write_text(of_suite(suite, known))

"""The page of rooms and arrows: which part of the package may import which, as tests enforce it."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.docs.rst import MADE, heading
from tests.test_architecture import GUARDED, MAY_USE, ROOMS

_HEAD = """\
``tests/test_architecture.py`` fails when a module imports from a room that its own may not use.
These are its tables, from the top down; `Architecture <architecture.rst>`_ says why. In the picture
an arrow that follows from others is left out.

.. image:: rooms.svg
   :alt: rooms in rows, each above those that it may use
"""
_BOX = (104, 30)
_STEP = (124, 74)


def page() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from heading("Rooms and arrows", "=")
    yield MADE
    yield ""
    yield _HEAD
    yield ".. list-table::"
    yield "   :header-rows: 1"
    yield ""
    yield from _row("room", "modules", "may use")
    for room in reversed(ROOMS):
        used = ", ".join(one for one in ROOMS if one in MAY_USE[room])
        yield from _row(room, _names(ROOMS[room]), used or "\\-")
    yield ""
    yield from heading("Who may import what from outside", "-")
    for outside, users in GUARDED.items():
        yield f"``{outside}``"
        yield f"    {_names(users) if users else 'nobody'}"
    yield ""


def _names(names: set[str]) -> str:
    return " ".join(f"``{name}``" for name in sorted(names))


def _row(*cells: str) -> Iterator[str]:
    for column, cell in enumerate(cells):
        yield f"   {'*' if column == 0 else ' '} - {cell}"


def picture() -> str:
    """The rooms in rows, each above all that it may use, as SVG."""
    rows: dict[int, list[str]] = {}
    for room in ROOMS:
        rows.setdefault(_height(room), []).append(room)
    width = max(map(len, rows.values())) * _STEP[0]
    places = {}
    for height, rooms in rows.items():
        left = (width - len(rooms) * _STEP[0]) // 2
        for column, room in enumerate(rooms):
            places[room] = (left + column * _STEP[0] + 10, (len(rows) - 1 - height) * _STEP[1] + 10)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{len(rows) * _STEP[1]}"'
        ' font-family="sans-serif" font-size="14" text-anchor="middle">',
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#777"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for room, (x, y) in places.items():
        for used in arrows(room):
            to_x, to_y = places[used]
            lines.append(
                f'<line x1="{x + _BOX[0] // 2}" y1="{y + _BOX[1]}" x2="{to_x + _BOX[0] // 2}" '
                f'y2="{to_y}" stroke="#777" marker-end="url(#end)"/>'
            )
    for room, (x, y) in places.items():
        lines.append(
            f'<rect x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="4" fill="#eef3f8" '
            f'stroke="#345"/><text x="{x + _BOX[0] // 2}" y="{y + 20}">{room}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def arrows(room: str) -> list[str]:
    """The rooms that a room may use and that none of the others it may use leads to."""
    used = MAY_USE[room]
    return sorted(one for one in used if not any(one in MAY_USE[other] for other in used))


def _height(room: str) -> int:
    return 1 + max(map(_height, MAY_USE[room]), default=-1)

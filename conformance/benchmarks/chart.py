"""Tables drawn as SVG of our own, which reads on light and dark pages alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from conformance.benchmarks.tables import Row, Table, spread
from conformance.benchmarks.units import shown

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 250, 150, 44, 34
_LINE, _LEGEND, _PLOT = 24, 19, 320
# Told apart by those who see no red or no green; the last is for everything above eight.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6bb1", "#888888")
_STYLE = """\
<style>
 svg { font: 13px system-ui, "DejaVu Sans", Verdana, sans-serif }
 .page { fill: #ffffff } text { fill: #1f2328 } .soft { fill: #59636e }
 .grid { stroke: #d1d9e0 } .line { fill: none; stroke-width: 1.5 } .thick { stroke-width: 3 }
 .mark { stroke: #1f2328 }
 .title { font-weight: 600; font-size: 14px } .ours { fill: #0072b2 } .theirs { fill: #9aa4ae }
 @media (prefers-color-scheme: dark) {
  .page { fill: #0d1117 } text { fill: #e6edf3 } .soft { fill: #9198a1 }
  .grid { stroke: #30363d } .mark { stroke: #e6edf3 }
  .ours { fill: #56b4e9 } .theirs { fill: #6e7681 }
 }
</style>"""


class Scale(NamedTuple):
    """A logarithmic axis."""

    least: float
    most: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        low, high = math.log10(self.least), math.log10(self.most)
        part = (math.log10(max(value, self.least)) - low) / max(high - low, 1e-9)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Powers of ten, and where these are few what is between them."""
        low, high = math.floor(math.log10(self.least)), math.ceil(math.log10(self.most))
        steps = (1, 2, 5) if self.most / self.least < 500 else (1,)
        every = [step * 10.0**power for power in range(low, high + 1) for step in steps]
        return [one for one in every if self.least <= one <= self.most * 1.0001]


def draw(table: Table) -> str:
    """The whole file: bars of ratios, or of values where there is no base; curves over an axis."""
    return _curves(table) if table.axis else _bars(table)


def _bars(table: Table) -> str:
    own = sorted(table.rows, key=lambda row: spread(_bar(table, row)).median)
    values = [value for row in own for value in _bar(table, row) if value > 0]
    scale = _scale(values, _LEFT, _WIDTH - _RIGHT)
    height = _TOP + _LINE * len(own) + _BOTTOM
    parts = [*_grid(scale, _TOP, height - _BOTTOM, table, upright=False)]
    for number, row in enumerate(own):
        parts += _bar_of(table, row, scale, _TOP + _LINE * number)
    return _file(table, height, parts)


def _bar(table: Table, row: Row) -> list[float]:
    return row.ratios if table.base else row.values


def _bar_of(table: Table, row: Row, scale: Scale, top: float) -> Iterator[str]:
    found = spread(_bar(table, row))
    kind = "ours" if is_ours(row.name) else "theirs"
    middle = top + _LINE / 2
    start, end = scale.start, max(scale(found.median), scale.start + 1)
    yield _text(_LEFT - 8, middle + 4, row.name, anchor="end")
    yield (
        f'<rect class="{kind}" x="{start:.1f}" y="{top + 4:.1f}" width="{end - start:.1f}"'
        f' height="{_LINE - 8}" rx="2"/>'
    )
    low, high = scale(found.least), scale(found.most)
    yield f'<path class="mark" d="M{low:.1f} {middle:.1f}H{high:.1f}"/>'
    said = shown(spread(row.values).median, table.unit)
    if table.base:
        said = f"{found.median:.3g} × ({said})"
    yield _text(max(high, end) + 6, middle + 4, said)


def _curves(table: Table) -> str:
    names = list(dict.fromkeys(row.name for row in table.rows))
    places = [row.at or 0.0 for row in table.rows]
    # A logarithmic axis has no nothing: it is drawn where a fifth of the least would be.
    nothing = min((one for one in places if one > 0), default=1.0) / 5
    foot = _TOP + _PLOT
    across = Scale(max(min(places), nothing), max(*places, 2 * nothing), 80, _WIDTH - 40)
    upwards = _scale([v for row in table.rows for v in row.values if v > 0], foot, _TOP)
    parts = [*_grid(upwards, 70, _WIDTH - 30, table, upright=True)]
    for place in sorted(set(places)):
        text = shown(place, "B" if table.axis == "bytes" else "")
        parts.append(_text(across(max(place, nothing)), foot + 17, text, "soft", "middle"))
    parts.append(_text((80 + _WIDTH - 40) / 2, foot + 34, table.axis, "soft", "middle"))
    for number, name in enumerate(names):
        points = [
            (across(max(row.at or 0.0, nothing)), upwards(spread(row.values).median))
            for row in table.rows
            if row.name == name
        ]
        parts += _curve(name, points, number)
    return _file(table, foot + 50 + _LEGEND * len(names), parts)


def _curve(name: str, points: Sequence[tuple[float, float]], number: int) -> Iterator[str]:
    colour = _COLOURS[number % len(_COLOURS)]
    dashes = ' stroke-dasharray="5 3"' if number >= len(_COLOURS) else ""
    kind = "line thick" if is_ours(name) else "line"
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    yield f'<path class="{kind}" stroke="{colour}"{dashes} d="{path}"/>'
    for x, y in points:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
    y = _TOP + _PLOT + 54 + _LEGEND * number
    yield f'<path class="{kind}" stroke="{colour}"{dashes} d="M80 {y}h22"/>'
    yield _text(110, y + 4, name)


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _scale(values: Sequence[float], start: float, end: float) -> Scale:
    least, most = min(values, default=1.0), max(values, default=1.0)
    return Scale(least * 0.8, max(most, least * 2), start, end)


def _grid(scale: Scale, low: float, high: float, table: Table, upright: bool) -> Iterator[str]:
    for tick in scale.ticks():
        at = scale(tick)
        text = f"{tick:g}" if table.base and not upright else shown(tick, table.unit)
        if upright:
            yield f'<path class="grid" d="M{low} {at:.1f}H{high:.1f}"/>'
            yield _text(low - 6, at + 4, text, "soft", "end")
        else:
            yield f'<path class="grid" d="M{at:.1f} {low}V{high:.1f}"/>'
            yield _text(at, high + 17, text, "soft", "middle")


def _file(table: Table, height: float, parts: Sequence[str]) -> str:
    of = f", as a multiple of: {table.base}" if table.base and not table.axis else ""
    heading = escape(table.title + of)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}"'
        f' width="{_WIDTH}" height="{height:.0f}" role="img">'
    )
    top = [head, f"<title>{heading}</title>", _STYLE]
    top += [f'<rect class="page" width="{_WIDTH}" height="{height:.0f}"/>']
    top += [f'<text class="title" x="12" y="24">{heading}</text>']
    return "\n".join([*top, *parts, "</svg>"]) + "\n"


def is_ours(name: str) -> bool:
    """Whether a row is of this project."""
    return name.startswith(("ours", "cwltool-userspace")) or "cwl-userspace" in name

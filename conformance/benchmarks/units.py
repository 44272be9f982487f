"""Values as people read them."""

from __future__ import annotations

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def shown(value: float, unit: str) -> str:
    """Three digits and a unit of a fitting size."""
    steps = {"s": _SECONDS, "B": _BYTES}.get(unit)
    if steps is None:
        return f"{_digits(value)} {unit}".strip()
    size, name = next((step for step in steps if abs(value) >= step[0]), steps[-1])
    if unit == "s" and value >= 120:
        return f"{value / 60:.3g} min"
    return f"{_digits(value / size)} {name}"


def _digits(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"

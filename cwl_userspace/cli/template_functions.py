"""The functions of Go's templates, those that Docker adds, and how Go shows a value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_VERB = re.compile(r"%([-+ #0]*\d*)((?:\.\d+)?)([a-zA-Z%])")


def as_json(value: Any) -> str:
    """JSON as Go writes it, without spaces."""
    return json.dumps(value, separators=(",", ":"))


def as_text(value: Any) -> str:
    """A value as Go's ``%v`` shows it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(map(as_text, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{as_text(value[key])}' for key in sorted(value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def index(value: Any, *keys: Any) -> Any:
    """``index .Map "key"`` and ``index .List 0``; a key that is not there gives nothing."""
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif value is None and isinstance(key, str):
            value = ""
        else:
            if key < 0:
                raise LookupError("the index is negative")
            value = value[key]
    return value


def _printf(form: str, *values: Any) -> str:
    left = list(values)

    def one(found: re.Match[str]) -> str:
        flags, precision, verb = found.groups()
        if verb == "%":
            return "%"
        value = left.pop(0)
        if verb in "svt":
            return f"%{flags}{precision}s" % as_text(value)
        if verb == "q":
            return f"%{flags}s" % json.dumps(value)
        if verb in "dxXofeEgG":
            return str(f"%{flags}{precision}{verb}" % value)
        raise ValueError(f"%{verb} is not known")

    text = _VERB.sub(one, form)
    if left:
        raise ValueError("there are more values than places for them")
    return text


def _print(*values: Any) -> str:
    """Go puts a space between two values of which neither is a text."""
    text = ""
    for before, value in zip((None, *values), values, strict=False):
        apart = text and not isinstance(before, str) and not isinstance(value, str)
        text += (" " if apart else "") + as_text(value)
    return text


def _println(*values: Any) -> str:
    return " ".join(map(as_text, values)) + "\n"


def _length(value: Any) -> int:
    return 0 if value is None else len(value)


def _equal(first: Any, *others: Any) -> bool:
    return any(first == other for other in others)


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    return value[start : len(value) if end is None else end]


def _truncate(text: str, length: int) -> str:
    return text[:length]


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "and": lambda *values: values[-1],
    "eq": _equal,
    "ge": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
    "index": index,
    "join": lambda values, between: between.join(map(as_text, values or ())),
    "json": as_json,
    "le": lambda a, b: a <= b,
    "len": _length,
    "lower": lambda text: text.lower(),
    "lt": lambda a, b: a < b,
    "ne": lambda a, b: a != b,
    "not": lambda value: not value,
    "or": lambda *values: values[-1],
    "pad": _pad,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "slice": _slice,
    "split": lambda text, between: text.split(between),
    "title": lambda text: re.sub(r"\b[a-z]", lambda found: found[0].upper(), text),
    "truncate": _truncate,
    "upper": lambda text: text.upper(),
}

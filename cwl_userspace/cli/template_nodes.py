"""What a template becomes: functions of a scope, which are put together and then called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cwl_userspace.errors import UserspaceError

# Those whose keys are whatever people have chosen: one that is not there is empty, and no mistake.
_OPEN = ("Labels", "Annotations", "Networks", "Options", "Ports", "Volumes")

Value = Callable[["Scope"], Any]
Node = Callable[["Scope"], str]


class Titles(dict[str, str]):
    """A field without a title of its own has its name: ``CreatedSince`` is CREATED SINCE."""

    def __missing__(self, key: str) -> str:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key).upper()


class Scope:
    """What ``.`` and the variables are; ``plain`` if functions give their first text back."""

    __slots__ = ("dot", "plain", "variables")

    def __init__(self, dot: Any, variables: dict[str, Any], plain: bool = False) -> None:
        self.dot = dot
        self.variables = variables
        self.plain = plain

    def inner(self, dot: Any) -> Scope:
        """The scope of a block, whose variables end with it."""
        return Scope(dot, dict(self.variables), self.plain)


class Field:
    """The value of a field of what another value gives."""

    __slots__ = ("_name", "_owner")

    def __init__(self, owner: Value, name: str) -> None:
        self._owner = owner
        self._name = name

    def __call__(self, scope: Scope) -> Any:
        found = self._owner(scope)
        if isinstance(found, dict) and (self._name in found or isinstance(found, Titles)):
            return found[self._name]
        is_open = isinstance(self._owner, Field) and self._owner._name in _OPEN
        if found is None or (is_open and isinstance(found, dict)):
            return None
        known = f"fields: {', '.join(found)}" if isinstance(found, dict) else "it has no fields"
        raise UserspaceError(f"no field '.{self._name}' here", known)


def constant(text: str) -> Node:
    return lambda scope: text


def given(value: Any) -> Value:
    return lambda scope: value


def joined(nodes: Sequence[Node]) -> Node:
    return lambda scope: "".join(node(scope) for node in nodes)


def deciding(wanted: bool, values: Iterable[Any]) -> Any:
    """The first value that is as true as wanted, or else the last."""
    value = None
    for value in values:
        if bool(value) is wanted:
            break
    return value


def _if(names: Sequence[str], value: Value, body: Node, otherwise: Node) -> Node:
    def node(scope: Scope) -> str:
        found = value(scope)
        inner = scope.inner(scope.dot)
        inner.variables.update(dict.fromkeys(names, found))
        return (body if found else otherwise)(inner)

    return node


def _with(names: Sequence[str], value: Value, body: Node, otherwise: Node) -> Node:
    def node(scope: Scope) -> str:
        found = value(scope)
        inner = scope.inner(found if found else scope.dot)
        inner.variables.update(dict.fromkeys(names, found))
        return (body if found else otherwise)(inner)

    return node


def _range(names: Sequence[str], value: Value, body: Node, otherwise: Node) -> Node:
    def node(scope: Scope) -> str:
        found = value(scope)
        if isinstance(found, dict):
            pairs = [(key, found[key]) for key in sorted(found)]
        elif isinstance(found, (list, tuple)):
            pairs = list(enumerate(found))
        elif scope.plain:
            pairs = [(0, found)]
        elif not found:
            pairs = []
        else:
            raise UserspaceError(f"range cannot go over {found!r:.60}", "expected a list or a map")
        text = ""
        for key, each in pairs:
            inner = scope.inner(each)
            # One name is that of the value.
            inner.variables.update(zip(names[::-1], (each, key), strict=False))
            text += body(inner)
        return text if pairs else otherwise(scope)

    return node


CONTROLS = {"if": _if, "with": _with, "range": _range}

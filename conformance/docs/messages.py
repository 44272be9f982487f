"""The messages of our errors, as the code has them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cwl_userspace import errors

PACKAGE = Path(errors.__file__).parent
_CLASSES = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.UserspaceError)
}
# What stands for a value that is known only when the error is raised.
VALUE = "…"


class Message(NamedTuple):
    """One error as it is raised in one place: its class, sentence and hint."""

    error: str
    text: str
    hint: str
    module: str
    line: int


def messages() -> Iterator[Message]:
    """Every error of the tree of ``errors`` that some module makes, in the order of modules."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _name(node.func) in _CLASSES and node.args:
                yield Message(
                    _name(node.func),
                    _text(node.args[0]),
                    _text(node.args[1]) if len(node.args) > 1 else "",
                    str(path.relative_to(PACKAGE)),
                    node.lineno,
                )


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def _text(node: ast.expr) -> str:
    """A text as it will be, with one sign for whatever is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return VALUE

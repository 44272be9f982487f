"""The messages of our errors, as the code has them."""

from __future__ import annotations

import ast
import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from cwl_userspace import errors

PACKAGE = Path(errors.__file__).parent
# What stands for a value that is known only when the error is raised.
VALUE = "…"
_Functions = ast.FunctionDef | ast.AsyncFunctionDef


class Message(NamedTuple):
    """One error as it is made in one place: its class in the tree of ``errors``, sentence, hint."""

    error: str
    text: str
    hint: str


def messages() -> Iterator[Message]:
    """Every error that some module makes, in the order of modules."""
    parsed = trees()
    kinds = _kinds(parsed)
    for tree in parsed:
        makers = {**kinds, **_makers(tree, kinds)}
        for function in ast.walk(tree):
            if isinstance(function, _Functions):
                yield from _made_in(function, makers)


def templates() -> set[str]:
    """Every text in the code, whether it is an error's or not."""
    return {
        text
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp)
        and (text := _text(node)) != VALUE
    }


@functools.cache
def trees() -> list[ast.Module]:
    """All modules of the package."""
    return [ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))]


def _kinds(parsed: list[ast.Module]) -> dict[str, str]:
    """Each class of errors, of the tree or derived from it, with its place in the tree."""
    kinds = {
        name: name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.UserspaceError)
    }
    classes = [node for tree in parsed for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for _ in range(3):  # as deep as any of them is derived
        for node in classes:
            for base in map(_name, node.bases):
                if base in kinds:
                    kinds.setdefault(node.name, kinds[base])
    return kinds


def _makers(tree: ast.Module, kinds: Mapping[str, str]) -> dict[str, str]:
    """Functions of a module that return an error, and so may be given its words."""
    return {
        node.name: kinds[_name(node.returns)]
        for node in ast.walk(tree)
        if isinstance(node, _Functions) and node.returns and _name(node.returns) in kinds
    }


def _made_in(function: ast.AST, makers: Mapping[str, str]) -> Iterator[Message]:
    known: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            known.setdefault(node.targets[0].id, []).append(node.value)
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and _name(node.func) in makers:
            said = [_choices(one, known) for one in node.args]
            if _name(node.func) not in vars(errors):  # what else it is told stands before the words
                said = [words for words in said if any(" " in text for text in words)]
            hints = said[1] if len(said) > 1 else [""]
            for text in said[0] if said else ():
                yield Message(makers[_name(node.func)], text, hints[0])


def _choices(node: ast.expr, known: Mapping[str, list[ast.expr]]) -> list[str]:
    """What an expression may say; what is put in by its name is looked up in its function."""
    if isinstance(node, ast.IfExp):
        return _choices(node.body, known) + _choices(node.orelse, known)
    if isinstance(node, ast.Name) and node.id in known:
        return [text for value in known[node.id] for text in _choices(value, {})]
    if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
        texts = _choices(node.value, known)
        return texts if all(" " in text for text in texts) else [VALUE]
    if isinstance(node, ast.JoinedStr):
        parts = [_choices(value, known) for value in node.values]
        return ["".join(choice) for choice in itertools.product(*parts)]
    return [_text(node)]


def _name(node: ast.expr | None) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def _text(node: ast.expr) -> str:
    """A text as it will be, with one sign for whatever is put in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return VALUE

"""The part of Go's templates that callers of ``docker`` write after ``--format``.

The language is that of Go's package text/template (its section "Actions"), with the functions
that Docker adds ("Format command and log output" in its manual). Left out are ``define``,
``block``, ``template``, ``break``, ``continue``, assignment to a variable that is there, and
``html``, ``js``, ``urlquery`` and ``call``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cwl_userspace.cli.template_functions import FUNCTIONS, as_json, as_text
from cwl_userspace.cli.template_nodes import (
    CONTROLS,
    Field,
    Node,
    Scope,
    Titles,
    Value,
    constant,
    deciding,
    given,
    joined,
)
from cwl_userspace.errors import UserspaceError

# What is between the braces may have closing ones in a string.
_ACTION = re.compile(
    r"\{\{(?P<left>-\s)?(?P<body>(?:\"(?:[^\"\\\n]|\\.)*\"|`[^`]*`|[^\"`}]|\}(?!\}))*?)"
    r"(?P<right>\s-)?\}\}"
)
_TOKEN = re.compile(
    r"(?P<space>\s*)(?:(?P<string>\"(?:[^\"\\\n]|\\.)*\"|`[^`]*`)|(?P<number>[-+]?\d+(?:\.\d+)?)"
    r"|(?P<field>\.[^\W\d]\w*)|(?P<variable>\$\w*)|(?P<word>[^\W\d]\w*)|(?P<sign>:=|[().,|]))"
)
_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\r": "\r"}
_CONSTANTS = {"true": True, "false": False, "nil": None}

_Token = tuple[str, str, bool]  # its kind, its text, and whether a space is before it


class Template:
    """A template that is read already; raise UserspaceError for text that is none."""

    def __init__(self, text: str) -> None:
        self._node = _Parser(text).all()

    def render(self, entry: Mapping[str, Any]) -> str:
        """The text for one entry; raise UserspaceError for a field that it does not have."""
        return self._node(Scope(entry, {"$": entry}))

    def titles(self, titles: Mapping[str, str]) -> str:
        """The line over the entries: the title of each field, whatever is done with its value."""
        return self._node(Scope(Titles(titles), {"$": Titles(titles)}, plain=True))


def render(template: str, entry: Mapping[str, Any]) -> str:
    """A template's text for an entry; the word ``json`` is all of it as JSON.

    Raise UserspaceError for a template that has no meaning and for a field that is not there.
    """
    return as_json(entry) if template == "json" else Template(template).render(entry)


class _Parser:
    """Reads a template into functions of a scope."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._pieces = self._split(text)
        self._tokens: list[_Token] = []

    def all(self) -> Node:
        """The whole template."""
        node, end = self._block()
        if end:
            raise self._error(f"{end!r} without a beginning")
        return node

    def _split(self, text: str) -> list[tuple[bool, str]]:
        """Texts and actions in turn, the last first."""
        pieces: list[tuple[bool, str]] = []
        place, trim = 0, False
        for found in _ACTION.finditer(text):
            before = text[place : found.start()]
            before = before.rstrip() if found["left"] else before
            pieces.append((False, before.lstrip() if trim else before))
            pieces.append((True, found["body"]))
            place, trim = found.end(), bool(found["right"])
        rest = text[place:]
        pieces.append((False, rest.lstrip() if trim else rest))
        if any("{{" in piece for is_action, piece in pieces if not is_action):
            raise self._error("an action is not closed")
        return pieces[::-1]

    def _block(self) -> tuple[Node, str]:
        """All up to ``end`` or ``else``, and that word with what follows it."""
        nodes: list[Node] = []
        while self._pieces:
            is_action, text = self._pieces.pop()
            if not is_action:
                nodes.append(constant(re.sub(r"\\[tnr]", lambda m: _ESCAPES[m[0]], text)))
                continue
            if text.strip().startswith("/*"):
                continue
            word = text.split(None, 1)[0] if text.strip() else ""
            if word in ("end", "else"):
                return joined(nodes), " ".join(text.split())
            nodes.append(self._statement(word, text))
        return joined(nodes), ""

    def _statement(self, word: str, text: str) -> Node:
        if word in ("if", "with", "range"):
            return self._control(word, text.strip()[len(word) :])
        self._read(text)
        names = self._declared()
        value = self._pipeline()
        self._finished()
        if not names:
            return lambda scope: as_text(value(scope))
        if len(names) > 1:
            raise self._error("only range gives two values")

        def declare(scope: Scope) -> str:
            scope.variables[names[0]] = value(scope)
            return ""

        return declare

    def _control(self, word: str, text: str) -> Node:
        self._read(text)
        names = self._declared()
        value = self._pipeline()
        self._finished()
        body, end = self._block()
        otherwise: Node = constant("")
        if end.startswith("else "):
            inner, _, rest = end.removeprefix("else ").partition(" ")
            if inner not in ("if", "with"):
                raise self._error(f"{end!r} has no meaning")
            otherwise = self._control(inner, rest)
        elif end == "else":
            otherwise, end = self._block()
        if end != "end" and not end.startswith("else "):
            raise self._error(f"{word!r} has no end")
        return CONTROLS[word](names, value, body, otherwise)

    # What is inside of an action; tokens are kept with the next one last.

    def _read(self, text: str) -> None:
        tokens: list[_Token] = []
        place, text = 0, text.strip()
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                raise self._error(f"{text[place:]!r} has no meaning")
            kind = str(found.lastgroup)
            tokens.append((kind, found[kind], bool(found["space"]) or place == 0))
            place = found.end()
        self._tokens = tokens[::-1]

    def _declared(self) -> list[str]:
        """The names in ``$name := ...`` or ``$key, $value := ...``, if that is what comes."""
        kinds = [text if kind == "sign" else kind for kind, text, _ in self._tokens[:-5:-1]]
        for count, head in enumerate((["variable", ":="], ["variable", ",", "variable", ":="]), 1):
            if kinds[: len(head)] == head:
                names = [self._tokens[-1 - 2 * place][1] for place in range(count)]
                del self._tokens[-len(head) :]
                return names
        return []

    def _pipeline(self) -> Value:
        value = self._command(None)
        while self._next_is("|"):
            self._tokens.pop()
            value = self._command(value)
        return value

    def _command(self, last: Value | None) -> Value:
        """One operand, or a function with its arguments; what is piped into it is the last."""
        if not self._tokens:
            raise self._error("a value is missing")
        kind, text, _ = self._tokens[-1]
        if kind != "word" or text in _CONSTANTS:
            if last is not None:
                raise self._error(f"{text!r} is no function")
            return self._operand()
        self._tokens.pop()
        arguments = []
        while self._tokens and self._tokens[-1][1] not in ("|", ")"):
            arguments.append(self._operand())
        if text not in FUNCTIONS:
            raise self._error(f"there is no function {text!r}")
        return self._call(text, arguments if last is None else [*arguments, last])

    def _operand(self) -> Value:
        kind, text, _ = self._tokens.pop()
        value: Value
        if kind == "field":
            value = Field(lambda scope: scope.dot, text[1:])
        elif kind == "variable":
            value = self._variable(text)
        elif text == ".":
            value = lambda scope: scope.dot  # noqa: E731
        elif text == "(":
            value = self._pipeline()
            if not self._next_is(")"):
                raise self._error("a bracket is not closed")
            self._tokens.pop()
        elif kind == "word" and text in _CONSTANTS:
            value = given(_CONSTANTS[text])
        elif kind == "word" and text in FUNCTIONS:
            value = self._call(text, [])
        elif kind in ("string", "number"):
            value = given(_literal(kind, text))
        else:
            raise self._error(f"{text!r} is not expected there")
        while self._tokens and self._tokens[-1][0] == "field" and not self._tokens[-1][2]:
            value = Field(value, self._tokens.pop()[1][1:])
        return value

    def _variable(self, name: str) -> Value:
        def value(scope: Scope) -> Any:
            if name not in scope.variables:
                raise self._error(f"there is no variable {name}")
            return scope.variables[name]

        return value

    def _call(self, name: str, arguments: Sequence[Value]) -> Value:
        def value(scope: Scope) -> Any:
            if arguments and name in ("and", "or"):  # whose later arguments may have no meaning
                return deciding(name == "or", (argument(scope) for argument in arguments))
            found = [argument(scope) for argument in arguments]
            if scope.plain and name not in ("printf", "print", "println"):
                return next((text for text in found if isinstance(text, str)), "")
            try:
                return FUNCTIONS[name](*found)
            except (TypeError, ValueError, LookupError, AttributeError) as error:
                raise self._error(f"{name!r} cannot be done: {str(error).lower()}") from None

        return value

    def _next_is(self, text: str) -> bool:
        return bool(self._tokens) and self._tokens[-1][1] == text

    def _finished(self) -> None:
        if self._tokens:
            raise self._error(f"{self._tokens[-1][1]!r} is not expected there")

    def _error(self, reason: str) -> UserspaceError:
        return UserspaceError(
            f"the template {self._text!r} cannot be used: {reason}",
            "expected for example {{.ID}}, {{json .}} or 'table {{.ID}}\\t{{.Names}}'",
        )


def _literal(kind: str, text: str) -> Any:
    if kind == "number":
        return float(text) if "." in text else int(text)
    if text.startswith("`"):
        return text[1:-1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[0], found[1]), text[1:-1])

"""The words of an instruction: Docker's quoting, escaping and substitution of variables.

The rules are those of the Dockerfile reference ("Environment replacement", "ENV", "Escape"):
close to a shell's, and in corners different from every shell.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import translate
from re import compile as compile_pattern

from cwl_userspace.build.problem import Problem

_SPECIAL = frozenset("0123456789@*#?-$!")
_OPERATORS = ("-", "+", "?")


def split(text: str, escape: str) -> list[str]:
    """The words of a text, with their quotes and escapes; white space in quotes parts none."""
    words: list[str] = []
    word, quote, position = "", "", 0
    started = False
    while position < len(text):
        character = text[position]
        if character == escape and quote != "'" and position + 1 < len(text):
            word += text[position : position + 2]
            started = True
            position += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character.isspace():
            if started:
                words.append(word)
            word, started = "", False
            position += 1
            continue
        word += character
        started = True
        position += 1
    return [*words, word] if started else words


def expand(text: str, variables: Mapping[str, str], escape: str, quotes: bool = True) -> str:
    """A text with its variables put in, and its quotes and escapes taken away.

    Without ``quotes`` those are text, and an escape counts only before what it can act on, as in
    a here-document. Raise Problem for a variable that cannot be read, or that ``${NAME:?...}``
    requires.
    """
    reader = _Reader(text, variables, escape)
    return reader.whole("") if quotes else reader.lines()


def pairs(text: str, escape: str) -> list[tuple[str, str]]:
    """``NAME=VALUE ...`` or the older ``NAME VALUE``, not expanded yet; raise Problem else."""
    words = split(text, escape)
    if not words:
        raise Problem("has no name", "expected NAME=VALUE")
    if "=" not in words[0]:
        name, *rest = text.strip().split(None, 1)
        if not rest:
            raise Problem(f"gives {name} no value", "expected NAME=VALUE")
        return [(name, rest[0].rstrip())]
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Problem(f"has the word {word!r}", "expected NAME=VALUE")
        found.append((name, value))
    return found


class _Reader:
    """Reads a text once, from the left."""

    def __init__(self, text: str, variables: Mapping[str, str], escape: str) -> None:
        self._text = text
        self._variables = variables
        self._escape = escape
        self._at = 0

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        self._at += 1
        return character

    def whole(self, stop: str) -> str:
        """All up to the character ``stop``, which is passed over; to the end if it is empty."""
        result = ""
        while character := self._next():
            if character == stop:
                return result
            if character == "'":
                result += self._single()
            elif character == '"':
                result += self._double()
            elif character == "$":
                result += self._variable()
            elif character == self._escape:
                result += self._next()
            else:
                result += character
        if stop:
            raise Problem(f"has {self._text!r}, which lacks a {stop!r}", "close what is open")
        return result

    def lines(self) -> str:
        """All of a here-document."""
        result = ""
        while character := self._next():
            if character == "$":
                result += self._variable()
            elif character == self._escape and self._peek() in ("$", self._escape):
                result += self._next()
            else:
                result += character
        return result

    def _single(self) -> str:
        result = ""
        while (character := self._next()) != "'":
            if not character:
                raise self._open_quote()
            result += character
        return result

    def _double(self) -> str:
        result = ""
        while (character := self._next()) != '"':
            if not character:
                raise self._open_quote()
            if character == "$":
                result += self._variable()
            elif character == self._escape and self._peek() in ('"', "$", self._escape):
                result += self._next()
            else:
                result += character
        return result

    def _open_quote(self) -> Problem:
        return Problem(f"has {self._text!r} with a quote that is not closed", "close the quote")

    def _variable(self) -> str:
        if self._peek() != "{":
            name = self._name()
            return self._variables.get(name, "") if name else "$"
        self._at += 1
        name = self._name()
        if not name:
            raise Problem(f"has {self._text!r}, where no name follows '${{'", "expected ${NAME}")
        return self._modified(name)

    def _name(self) -> str:
        if self._peek() in _SPECIAL:
            return self._next()
        name = ""
        while self._peek().isalnum() or self._peek() == "_":
            name += self._next()
        return name

    def _modified(self, name: str) -> str:
        value = self._variables.get(name)
        operator = self._next()
        if operator == "}":
            return value or ""
        filled = value is not None
        if operator == ":":
            filled, operator = bool(value), self._next()
        elif operator and operator in "#%/":
            return self._cut(value or "", operator)
        if operator not in _OPERATORS:
            raise Problem(
                f"has {self._text!r} with the unknown modifier {operator!r}",
                "expected ${NAME:-WORD}, ${NAME:+WORD} or ${NAME:?WORD}",
            )
        word = self.whole("}")
        if operator == "+":
            return word if filled else ""
        if filled:
            return value or ""
        if operator == "?":
            raise Problem(f"needs the variable {name}: {word or 'not set'}", "set it with ARG")
        return word

    def _cut(self, value: str, operator: str) -> str:
        """``${X#P}``, ``${X%P}``, ``${X/P/R}``, and each doubled: the longest, or all."""
        most = self._peek() == operator
        self._at += most
        if operator == "/":
            pattern, slash, replacement = self.whole("}").partition("/")
            found = compile_pattern(_glob(pattern))
            return found.sub(lambda _: replacement if slash else "", value, 0 if most else 1)
        fits = compile_pattern(_glob(self.whole("}"))).fullmatch
        ends = range(len(value) + 1)
        if operator == "#":
            cuts = [i for i in ends if fits(value[:i])]
            return value[max(cuts) if most else min(cuts) :] if cuts else value
        cuts = [i for i in ends if fits(value[i:])]
        return value[: min(cuts) if most else max(cuts)] if cuts else value


def _glob(pattern: str) -> str:
    """A shell's pattern as a regular expression that is not bound to the end."""
    return translate(pattern).removesuffix(r"\Z").removesuffix(r"\z")

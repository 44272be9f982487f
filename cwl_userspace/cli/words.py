"""The grammar of Docker's command line: a verb's options, as a table, and how to read them.

argparse would add a seventh to the time of a run, and does not know Docker's rule that options end
at the image.
"""

from __future__ import annotations

from cwl_userspace.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

FLAG, VALUE, LIST = "flag", "value", "list"
_YES, _NO = ("true", "1", "t", "yes"), ("false", "0", "f", "no")


class Option:
    """One option of a verb: all its spellings, whether it takes a value, and what it means."""

    __slots__ = ("help", "kind", "metavar", "name", "spellings")

    def __init__(self, spellings: str, kind: str, help: str, metavar: str = "") -> None:
        self.spellings = tuple(spellings.split())
        self.kind = kind
        self.help = help
        self.metavar = metavar
        self.name = self.spellings[-1].lstrip("-")


class HelpAsked(Exception):
    """``--help`` was given: what there is to say of a verb, for a terminal or for a page."""

    def __init__(self, verb: str, arguments: str, options: Sequence[Option]) -> None:
        super().__init__(verb)
        self.verb = verb
        self.arguments = arguments
        self.options = options


class Words:
    """What a verb was given: options by the last of their spellings, and the arguments."""

    __slots__ = ("arguments", "flags", "lists", "spellings", "values")
    _SAVED = ("arguments", "flags", "lists", "values")

    def __init__(self) -> None:
        self.flags: dict[str, bool] = {}
        self.values: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}
        self.arguments: list[str] = []
        self.spellings: dict[str, str] = {}

    def to_json(self) -> dict[str, Any]:
        """The words as plain values."""
        return {name: getattr(self, name) for name in self._SAVED}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Words:
        """What ``to_json`` gave."""
        words = cls()
        for name in cls._SAVED:
            setattr(words, name, values[name])
        return words

    def flag(self, name: str) -> bool:
        """True if the flag was given and not taken back by ``=false``."""
        return self.flags.get(name, False)

    def value(self, name: str, default: str = "") -> str:
        """The last value that was given."""
        return self.values.get(name, default)

    def list(self, name: str) -> Sequence[str]:
        """All values that were given, in order."""
        return self.lists.get(name, [])

    def typed(self, name: str) -> str:
        """An option as it was last spelled, for what is to be said of its value."""
        return self.spellings.get(name, f"--{name}")


def parse(
    verb: str, options: Sequence[Option], argv: Sequence[str], options_end_at_argument: bool = False
) -> Words:
    """Read the words after a verb, or after our own name if that is empty.

    Raise UsageError for an option that it does not have.
    """
    known = {spelling: option for option in options for spelling in option.spellings}
    words = Words()
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words.arguments += rest
            break
        if not word.startswith("-") or word == "-":
            words.arguments.append(word)
            if options_end_at_argument:
                words.arguments += rest
                break
        elif word.startswith("--"):
            spelling, equals, value = word.partition("=")
            _take(verb, known, spelling, value if equals else None, rest, words)
        else:
            _short(verb, known, word, rest, words)
    return words


def _short(verb: str, known: dict[str, Option], word: str, rest: list[str], words: Words) -> None:
    """``-it``, ``-e K=V``, ``-eK=V`` and ``-i=false``; also words such as ``-la`` as a whole."""
    name, equals, value = word.partition("=")
    if name in known and (equals or len(name) > 2):
        _take(verb, known, name, value if equals else None, rest, words)
        return
    letters = word[1:]
    while letters:
        spelling, letters = f"-{letters[0]}", letters[1:]
        option = known.get(spelling)
        if option is not None and option.kind != FLAG and letters:
            _take(verb, known, spelling, letters.removeprefix("="), rest, words)
            return
        _take(verb, known, spelling, None, rest, words)


def _take(
    verb: str,
    known: dict[str, Option],
    spelling: str,
    value: str | None,
    rest: list[str],
    words: Words,
) -> None:
    option = known.get(spelling)
    if option is None:
        raise UsageError(
            f"{verb or 'cwl-userspace'} has no option {spelling}", _nearest(spelling, known, verb)
        )
    if option.kind == FLAG:
        words.flags[option.name] = truth(spelling, value)
        return
    if value is None:
        if not rest:
            raise UsageError(f"{spelling} needs a value", _see(verb))
        value = rest.pop(0)
    words.spellings[option.name] = spelling
    if option.kind == LIST:
        words.lists.setdefault(option.name, []).append(value)
    else:
        words.values[option.name] = value


def truth(spelling: str, value: str | None) -> bool:
    """What a switch is set to; one without a value is on. Raise UsageError for any other word."""
    if value is None or value.lower() in _YES:
        return True
    if value.lower() in _NO:
        return False
    raise UsageError(f"{spelling} is {value!r}", "expected true or false")


def _nearest(spelling: str, known: dict[str, Option], verb: str) -> str:
    import difflib

    near = difflib.get_close_matches(spelling, known, 1)
    return f"did you mean {near[0]}?" if near else _see(verb)


def _see(verb: str) -> str:
    return f"see cwl-userspace {verb} --help" if verb else "see cwl-userspace --help"

"""Manual pages, in the language of man(7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cwl_userspace import __version__
from cwl_userspace.cli import GLOBAL, VERBS
from cwl_userspace.cli.manual import FILES, MANUAL, VARIABLES
from cwl_userspace.cli.words import HelpAsked, Option

_NAME = "cwl-userspace"
_PLAIN = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga"})
_WHAT = "run the container of any CWL tool in user space"
_CODES = {
    "the program's own": "as the program in the container ended; 128 + n for a signal n",
    "124": "the time of --timeout was over",
    "125": "an error of ours",
    "126": "the program is there, but cannot be executed",
    "127": "the program is not there",
}


def pages(verbs: Sequence[HelpAsked]) -> dict[str, str]:
    """The text of each page by the name of its file: the command's, and one for each verb."""
    return {
        f"{_NAME}.1": _overview(verbs),
        **{f"{_NAME}-{asked.verb}.1": _page(asked) for asked in verbs},
    }


def _overview(verbs: Sequence[HelpAsked]) -> str:
    about, examples = MANUAL[""]
    return "\n".join(
        [
            *_head(_NAME, _WHAT, "[OPTIONS] VERB ..."),
            *(".SH DESCRIPTION", _text(about)),
            *(".SH VERBS", *_terms({_reference(v.verb): VERBS[v.verb][1] for v in verbs})),
            *(".SH OPTIONS", "They stand before the verb.", *_options(GLOBAL)),
            *(".SH EXIT STATUS", *_terms({_text(code): _text(w) for code, w in _CODES.items()})),
            *(".SH ENVIRONMENT", *_terms({_text(k): _text(v) for k, v in VARIABLES.items()})),
            *(".SH FILES", *_terms({_text(k): _text(v) for k, v in FILES.items()})),
            *_examples(examples),
            "",
        ]
    )


def _page(asked: HelpAsked) -> str:
    summary = VERBS[asked.verb][1]
    about, examples = MANUAL.get(asked.verb, ("", ()))
    description = about or f"{summary[0].upper()}{summary[1:]}."
    return "\n".join(
        [
            *_head(f"{_NAME}-{asked.verb}", summary, asked.arguments, f"{_NAME} {asked.verb}"),
            *(".SH DESCRIPTION", _text(description)),
            *(".SH OPTIONS", *_options(asked.options)),
            *_examples(examples),
            *(".SH SEE ALSO", f".BR {_text(_NAME)} (1)"),
            "",
        ]
    )


def _head(name: str, what: str, arguments: str, words: str = "") -> list[str]:
    return [
        f'.TH {_text(name.upper())} 1 "" "{_NAME} {__version__}" "User Commands"',
        *(".SH NAME", f"{_text(name)} \\- {_text(what)}"),
        *(".SH SYNOPSIS", f".B {_text(words or name)}", _text(arguments)),
    ]


def _options(options: Sequence[Option]) -> list[str]:
    terms = {}
    for option in options:
        spellings = ", ".join(f"\\fB{_text(one)}\\fR" for one in option.spellings)
        metavar = f" \\fI{_text(option.metavar)}\\fR" if option.metavar else ""
        terms[spellings + metavar] = _text(option.help)
    return _terms(terms)


def _terms(terms: Mapping[str, str]) -> list[str]:
    return [line for term, text in terms.items() for line in (".TP", term, text)]


def _examples(lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return [".SH EXAMPLES", ".nf", *map(_text, lines), ".fi"]


def _reference(verb: str) -> str:
    return f"\\fB{_text(f'{_NAME}-{verb}')}\\fR(1)"


def _text(text: str) -> str:
    """Text as it is meant: no backslash, no hyphen and no first letter has a meaning of roff's."""
    plain = text.translate(_PLAIN)
    return f"\\&{plain}" if plain.startswith((".", "\\(aq")) else plain

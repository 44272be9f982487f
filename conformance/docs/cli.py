"""The page of the command line: what ``help`` and the manual pages are made of, as one page."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from conformance.docs.rst import MADE, escaped, heading
from cwl_userspace.cli import GLOBAL, VERBS
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import every
from cwl_userspace.cli.manual import FILES, MANUAL, VARIABLES
from cwl_userspace.cli.words import HelpAsked, Option


def page() -> str:
    """All verbs with their options, in the order of ``cwl-userspace help``."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    about, _ = MANUAL[""]
    yield from heading("The command line", "=")
    yield MADE
    yield ""
    yield "``cwl-userspace [OPTIONS] VERB ...``"
    yield ""
    yield escaped(about)
    yield ""
    yield "The same is said by ``cwl-userspace VERB --help``, and by the manual pages."
    yield ""
    yield from heading("Before the verb", "-")
    yield from _options(GLOBAL)
    yield from heading("Verbs", "-")
    for asked in every(Context(os.environ, "", quiet=True)):
        yield from _verb(asked)
    yield from heading("Environment", "-")
    yield from _terms(VARIABLES.items())
    yield from heading("Files", "-")
    yield from _terms(FILES.items())


def _verb(asked: HelpAsked) -> Iterator[str]:
    summary = VERBS[asked.verb][1]
    about, examples = MANUAL.get(asked.verb, ("", ()))
    yield from heading(f"``{asked.verb}``", "~")
    yield f"``{f'cwl-userspace {asked.verb} {asked.arguments}'.rstrip()}``"
    yield ""
    yield escaped(f"{summary[0].upper()}{summary[1:]}.")
    yield ""
    if about:
        yield escaped(about)
        yield ""
    yield from _options(asked.options)
    if examples:
        yield "::"
        yield ""
        yield from (f"    {line}" for line in examples)
        yield ""


def _options(options: Sequence[Option]) -> Iterator[str]:
    yield from _terms(
        (
            ", ".join(option.spellings) + (f" {option.metavar}" if option.metavar else ""),
            option.help,
        )
        for option in options
    )


def _terms(terms: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, text in terms:
        yield f"``{term}``"
        yield f"    {escaped(text)}"
    yield ""

"""``help``: the verbs, how one of them is used, or manual pages of all.

What is said of a verb has one source: its summary in the table of verbs, its own table of options,
and ``manual``. ``--help``, the manual pages and the completion of shells are made of that.
"""

from __future__ import annotations

import os

from cwl_userspace.cli.words import FLAG, VALUE, HelpAsked, Option, parse
from cwl_userspace.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from cwl_userspace.cli.context import Context

OPTIONS = (
    Option("--man", VALUE, "write the manual pages to a directory, for man -M or MANPATH", "DIR"),
    Option("--help", FLAG, "show this text"),
)
_LEFT = 34
_CLOSING = "errors of ours end with the exit code 125, and name what to do"


def show(verb: str, arguments: str, options: Sequence[Option]) -> NoReturn:
    """Have the usage of a verb shown, by whoever asked for it; never returns."""
    raise HelpAsked(verb, arguments, options)


def command(context: Context, argv: Sequence[str]) -> int:
    """Print the list of verbs, or what ``VERB --help`` prints; or write manual pages."""
    from cwl_userspace.cli import VERBS, unknown_verb

    words = parse("help", OPTIONS, argv)
    if words.flag("help"):
        show("help", "[--man DIR] [VERB]", OPTIONS)
    if words.value("man"):
        return _write_pages(context, words.value("man"))
    if words.arguments:
        if words.arguments[0] not in VERBS:
            raise unknown_verb(words.arguments[0])
        raise described(context, words.arguments[0])
    print(overview())
    return 0


def described(context: Context, verb: str) -> HelpAsked:
    """What there is to say of a verb: what it would show when asked for its help."""
    from cwl_userspace.cli import load

    try:
        load(verb)(context, ["--help"])
    except HelpAsked as asked:
        asked.verb = verb  # some are answered by another's function
        return asked
    raise AssertionError(f"{verb} --help shows nothing")


def every(context: Context) -> list[HelpAsked]:
    """All verbs, in the order of their table."""
    from cwl_userspace.cli import VERBS

    return [described(context, verb) for verb in VERBS]


def overview() -> str:
    """All verbs with their summaries, and what may stand before them."""
    from cwl_userspace.cli import GLOBAL, VERBS

    width = max(map(len, VERBS))
    verbs = [f"  {verb:<{width}}  {summary}" for verb, (_, summary) in VERBS.items()]
    return "\n".join(
        [
            "usage: cwl-userspace [OPTIONS] VERB ...\n",
            "Run the container of any CWL tool in user space.\n",
            *("verbs:", *verbs),
            *("\noptions before the verb:", *_lines(GLOBAL)),
            f"\nsee cwl-userspace VERB --help; {_CLOSING}",
        ]
    )


def usage(asked: HelpAsked) -> str:
    """The text of ``cwl-userspace VERB --help``; for a name of others, of that program's verb."""
    import textwrap

    from cwl_userspace.cli import VERBS
    from cwl_userspace.cli.manual import MANUAL

    summary = VERBS.get(asked.verb, ("", ""))[1]
    about, examples = MANUAL.get(asked.verb, ("", ()))
    text = [f"usage: cwl-userspace {asked.verb} {asked.arguments}".rstrip()]
    if summary:
        text.append(f"\n{summary[0].upper()}{summary[1:]}.")
    if about:
        text.append("\n" + textwrap.fill(about, 88, break_on_hyphens=False))
    text += ["\noptions:", *_lines(asked.options)]
    if examples:
        text += ["\nexamples:", *(f"  {line}" for line in examples)]
    return "\n".join(text)


def _lines(options: Sequence[Option]) -> list[str]:
    lines = []
    for option in options:
        left = ", ".join(option.spellings) + (f" {option.metavar}" if option.metavar else "")
        if len(left) >= _LEFT:
            lines.append(f"  {left}")
            left = ""
        lines.append(f"  {left:<{_LEFT}} {option.help}")
    return lines


def _write_pages(context: Context, directory: str) -> int:
    """A page for the command and one for each verb, in ``man1`` there; print where they are."""
    from cwl_userspace.cli.roff import pages

    place = os.path.join(os.path.abspath(directory), "man1")
    try:
        os.makedirs(place, exist_ok=True)
        for name, text in pages(every(context)).items():
            with open(os.path.join(place, name), "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise UsageError(
            f"manual pages cannot be written to {place!r}: {error.strerror}", "choose another --man"
        ) from None
    print(place)
    return 0

"""Completion for fish (its manual, "Writing your own completions")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cwl_userspace.cli import GLOBAL, VERBS
from cwl_userspace.cli.complete import kinds
from cwl_userspace.cli.words import HelpAsked, Option

_HEAD = """\
# completion of cwl-userspace for fish; made by: cwl-userspace completion fish
complete -c cwl-userspace -f
"""
_LISTS = {
    kinds.IMAGES: "(cwl-userspace completion --images 2> /dev/null)",
    kinds.CONTAINERS: "(cwl-userspace completion --containers 2> /dev/null)",
    kinds.FILES: "(__fish_complete_path (commandline -ct))",
}


def script(verbs: Sequence[HelpAsked]) -> str:
    """The script as a whole; it may be sourced."""
    names = " ".join(asked.verb for asked in verbs)
    none_yet = f"-n 'not __fish_seen_subcommand_from {names}'"
    lines = [_option(option, none_yet) for option in GLOBAL]
    lines += [_word(none_yet, asked.verb, VERBS[asked.verb][1]) for asked in verbs]
    for asked in verbs:
        lines += _verb(asked, names)
    return _HEAD + "".join(f"{line}\n" for line in lines)


def _verb(asked: HelpAsked, names: str) -> Iterator[str]:
    condition = f"-n '__fish_seen_subcommand_from {asked.verb}'"
    for option in asked.options:
        yield _option(option, condition)
    found, fixed = kinds.arguments(asked)
    for kind in sorted(found):
        choices = names if kind == kinds.VERBS else _LISTS[kind]
        yield f"complete -c cwl-userspace {condition} -a {_quoted(choices)}"
    for word in fixed:
        yield _word(condition, word, "")
    if kinds.ends_at_argument(asked):  # the command's own arguments are most often files
        yield f"complete -c cwl-userspace {condition} -F"


def _word(condition: str, word: str, summary: str) -> str:
    described = f" -d {_quoted(summary)}" if summary else ""
    return f"complete -c cwl-userspace {condition} -a {word}{described}"


def _option(option: Option, condition: str) -> str:
    spelled = [
        f"-l {spelling[2:]}" if spelling.startswith("--") else f"-s {spelling[1:]}"
        for spelling in option.spellings
    ]
    value = ""
    if kinds.takes_value(option):
        kind, fixed = kinds.values(option)
        choices = " ".join(fixed) or _LISTS.get(kind, "")
        value = " -r" + (f" -a {_quoted(choices)}" if choices else "")
    return (
        f"complete -c cwl-userspace {condition} {' '.join(spelled)}{value}"
        f" -d {_quoted(option.help)}"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

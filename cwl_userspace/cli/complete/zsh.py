"""Completion for zsh (zshcompsys(1))."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace.cli import GLOBAL, VERBS
from cwl_userspace.cli.complete import kinds
from cwl_userspace.cli.words import LIST, HelpAsked, Option

_SCRIPT = r"""#compdef cwl-userspace
# completion of cwl-userspace for zsh; made by: cwl-userspace completion zsh
_cwl_userspace_images() {
    local -a names=(${(f)"$(cwl-userspace completion --images 2> /dev/null)"})
    compadd -a names
}
_cwl_userspace_containers() {
    local -a names=(${(f)"$(cwl-userspace completion --containers 2> /dev/null)"})
    compadd -a names
}
_cwl_userspace_both() {
    _cwl_userspace_images
    _cwl_userspace_containers
}
_cwl_userspace_verbs() {
    local -a verbs=(
%(names)s
    )
    _describe verb verbs
}
_cwl_userspace_arguments() {
    case $words[1] in
%(verbs)s
    esac
}
_cwl_userspace() {
    local curcontext=$curcontext state line
    typeset -A opt_args
    _arguments -C \
%(global)s
        '1: :_cwl_userspace_verbs' '*:: :_cwl_userspace_arguments'
}
# As a file of $fpath it is called at once; sourced it only says what it completes.
if [[ $funcstack[1] == _cwl-userspace ]]; then
    _cwl_userspace "$@"
else
    compdef _cwl_userspace cwl-userspace
fi
"""
_ACTIONS = {kinds.IMAGES: "_cwl_userspace_images", kinds.CONTAINERS: "_cwl_userspace_containers",
            kinds.FILES: "_files", kinds.VERBS: "_cwl_userspace_verbs"}  # fmt: skip


def script(verbs: Sequence[HelpAsked]) -> str:
    """The script as a whole: sourced after compinit, or a file ``_cwl-userspace`` of $fpath."""
    return _SCRIPT % {
        "names": "\n".join(f"        {_quoted(f'{v.verb}:{VERBS[v.verb][1]}')}" for v in verbs),
        "verbs": "\n".join(map(_verb, verbs)),
        "global": "\n".join(_option(option) for option in GLOBAL),
    }


def _verb(asked: HelpAsked) -> str:
    found, fixed = kinds.arguments(asked)
    if found == {kinds.IMAGES, kinds.CONTAINERS}:
        action = "_cwl_userspace_both"
    elif found:
        action = _ACTIONS[min(found, key=list(_ACTIONS).index)]
    else:
        action = f"({' '.join(fixed)})" if fixed else ""
    if kinds.ends_at_argument(asked):
        places = f"'1: :{action}' '*:: :_normal'"
        stops = "-A '-*' "
    else:
        places, stops = f"'*: :{action}'", ""
    options = "\n".join(_option(option) for option in asked.options)
    return f"        {asked.verb}) _arguments -S {stops}\\\n{options}\n            {places} ;;"


def _option(option: Option) -> str:
    """One specification of _arguments for each spelling; a value may follow as a word, or after =.

    Spellings exclude each other, unless the option may be given again.
    """
    text = "".join(f"\\{c}" if c in "[]:\\" else c for c in option.help)
    again = "*" if option.kind == LIST else f"({' '.join(option.spellings)})"
    value = ""
    if kinds.takes_value(option):
        kind, fixed = kinds.values(option)
        action = f"({' '.join(fixed)})" if fixed else _ACTIONS.get(kind, " ")
        value = f": :{action}"
    specifications = []
    for spelling in option.spellings:
        joined = "" if not value else "=" if spelling.startswith("--") else "+"
        specifications.append(_quoted(f"{again}{spelling}{joined}[{text}]{value}"))
    return f"            {' '.join(specifications)} \\"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"

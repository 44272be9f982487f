"""Completion for bash (bash(1), "Programmable Completion"), without the package of that name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cwl_userspace.cli import GLOBAL
from cwl_userspace.cli.complete import kinds
from cwl_userspace.cli.words import HelpAsked, Option

_SCRIPT = r"""# completion of cwl-userspace for bash; made by: cwl-userspace completion bash
# What a verb takes: its options, those that a value follows, what its arguments can be, and
# whether a command follows the first of them.
_cwl_userspace_verb() {
    options= valued= kinds= fixed= ends=
    case $1 in
%(verbs)s
    esac
}
# What the value of a verb's option can be.
_cwl_userspace_value() {
    kinds= fixed=
    case "$1 $2" in
%(values)s
    esac
}
_cwl_userspace() {
    local line=${COMP_LINE:0:COMP_POINT} options valued kinds fixed ends
    local verb= word previous= current= given=0 only_arguments= index
    local -a words=()
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]}-1]}
    _cwl_userspace_verb ""
    for ((index = 1; index < ${#words[@]} - 1; index++)); do
        word=${words[index]}
        if [[ -n $previous ]]; then
            previous=
        elif [[ -z $only_arguments && $word == -- ]]; then
            only_arguments=1
        elif [[ -z $only_arguments && $word == -* ]]; then
            [[ " $valued " == *" $word "* ]] && previous=$word
        elif [[ -z $verb ]]; then
            verb=$word
            _cwl_userspace_verb "$verb"
        else
            given=$((given + 1))
            [[ -n $ends ]] && only_arguments=1
        fi
    done
    COMPREPLY=()
    if [[ -n $ends && $given -gt 0 ]]; then
        compopt -o default 2> /dev/null
        return
    fi
    if [[ -n $previous ]]; then
        _cwl_userspace_value "$verb" "$previous"
    elif [[ -z $only_arguments && $current == --*=* ]]; then
        _cwl_userspace_value "$verb" "${current%%%%=*}"
        current=${current#*=}
    elif [[ -z $only_arguments && $current == -* ]]; then
        kinds= fixed=$options
    elif [[ -z $verb ]]; then
        kinds=verbs
    fi
    local choices=$fixed
    [[ " $kinds " == *" verbs "* ]] && choices+=" %(names)s"
    [[ " $kinds " == *" images "* ]] &&
        choices+=" $(cwl-userspace completion --images 2> /dev/null)"
    [[ " $kinds " == *" containers "* ]] &&
        choices+=" $(cwl-userspace completion --containers 2> /dev/null)"
    [[ " $kinds " == *" files "* ]] && compopt -o default 2> /dev/null
    choices=${choices//$'\n'/ }
    local IFS=' '
    for word in $choices; do
        [[ $word == "$current"* ]] && COMPREPLY+=("$word")
    done
    # readline takes what follows the last colon for the word.
    if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${current%%"${current##*:}"}"}")
    fi
}
complete -F _cwl_userspace cwl-userspace
"""


def script(verbs: Sequence[HelpAsked]) -> str:
    """The script as a whole; it may be sourced."""
    every = [("", HelpAsked("", "VERB", GLOBAL)), *((asked.verb, asked) for asked in verbs)]
    return _SCRIPT % {
        "verbs": "\n".join(_verb(name, asked) for name, asked in every),
        "values": "\n".join(line for name, asked in every for line in _values(name, asked)),
        "names": " ".join(asked.verb for asked in verbs),
    }


def _verb(name: str, asked: HelpAsked) -> str:
    found, fixed = kinds.arguments(asked)
    ends = "1" if kinds.ends_at_argument(asked) else ""
    return (
        f"        '{name}')\n"
        f"            options='{_spellings(asked.options)}'\n"
        f"            valued='{_spellings(filter(kinds.takes_value, asked.options))}'\n"
        f"            kinds='{' '.join(sorted(found))}' fixed='{' '.join(fixed)}' ends={ends} ;;"
    )


def _values(name: str, asked: HelpAsked) -> Iterator[str]:
    for option in filter(kinds.takes_value, asked.options):
        kind, fixed = kinds.values(option)
        if kind or fixed:
            places = "|".join(f"'{name} {spelling}'" for spelling in option.spellings)
            yield f"        {places}) kinds='{kind}' fixed='{' '.join(fixed)}' ;;"


def _spellings(options: Iterator[Option] | Sequence[Option]) -> str:
    return " ".join(spelling for option in options for spelling in option.spellings)

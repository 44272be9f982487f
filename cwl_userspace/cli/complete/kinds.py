"""What can stand at a place of the command line, read from what help says of it."""

from __future__ import annotations

import re

from cwl_userspace.cli.words import FLAG, HelpAsked, Option

IMAGES, CONTAINERS, FILES, VERBS = "images", "containers", "files", "verbs"
_KINDS = {
    "IMAGE": IMAGES,
    "NAME": IMAGES,
    "CONTAINER": CONTAINERS,
    "VERB": VERBS,
    **dict.fromkeys(("FILE", "DIR", "DIRECTORY", "PATH", "TARGET", "WORKFLOW", "SRC"), FILES),
}
_PLACE = re.compile(r"[A-Z]{2,}")
_FIXED = re.compile(r"(?<![\w.-])[a-z]+(?![\w-])")


def arguments(asked: HelpAsked) -> tuple[set[str], list[str]]:
    """What the arguments of a verb can be: the kinds of things, and words as they stand."""
    places = re.sub(r"\[[^]]*-[^]]*\]|COMMAND.*", "", asked.arguments)  # no option, no command
    places = re.sub(r"--?\w+( [A-Z]+)?", "", places)
    kinds = {_KINDS[place] for place in _PLACE.findall(places) if place in _KINDS}
    return kinds, _FIXED.findall(places)


def ends_at_argument(asked: HelpAsked) -> bool:
    """True if what follows the first argument is a command for the container."""
    return "COMMAND" in asked.arguments


def values(option: Option) -> tuple[str, list[str]]:
    """What the value of an option can be: a kind of thing if one is known, or one of some words."""
    if re.fullmatch(r"[a-z]+(\|[a-z]+)+", option.metavar):
        return "", option.metavar.split("|")
    first = _PLACE.search(option.metavar)
    kind = _KINDS.get(first[0], "") if first and option.metavar.startswith(first[0]) else ""
    # A NAME that an option wants is a new one.
    return ("" if first and first[0] == "NAME" else kind), []


def takes_value(option: Option) -> bool:
    """True if a word of its own may follow."""
    return option.kind != FLAG

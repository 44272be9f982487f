"""Which image or container may have been meant by a name that nobody has."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from cwl_userspace import containers, ended, runs
from cwl_userspace.cli.context import Context
from cwl_userspace.errors import UserspaceError
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records

_ALIKE = 0.75


def image_names(context: Context) -> list[str]:
    """The names of all images in the store, as people write them."""
    return [ImageReference.parse(name).familiar for name, _ in records.names(context.store)]


def container_names(context: Context) -> list[str]:
    """The names of all containers: those that were created, that run, or that have ended."""
    state = context.settings.state
    created = [container.name for container in containers.every(context.store)]
    running = [record.get("name") or "" for record in runs.running(state)]
    over = [record["name"] for record in ended.every(state)]
    return list(dict.fromkeys(filter(None, (*created, *running, *over))))


def suggest(context: Context, words: Sequence[str], error: UserspaceError) -> None:
    """Have an error of a name ask for another that is nearly the same, if there is one."""
    try:
        known = {name: name for name in (*container_names(context), *image_names(context))}
    except (UserspaceError, OSError):  # of the store, which is not what was asked about
        return
    # People leave out a tag and what is before the last slash.
    short = {name.rpartition(":")[0] or name: name for name in known}
    shorter = {name.rpartition("/")[2]: known for name, known in short.items()}
    spelled = {**shorter, **short, **known}
    for word in words:
        if word.startswith("-") or word not in error.message or word in spelled:
            continue
        turned = [name for name in spelled if sorted(name) == sorted(word)]  # wbe for web
        near = turned or difflib.get_close_matches(word, spelled, 1, _ALIKE)
        if near:
            ask = f"did you mean {spelled[near[0]]}?"
            error.hint = f"{ask} Else {error.hint}" if error.hint else ask
            return

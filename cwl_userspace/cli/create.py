"""``create``: a container with a tree of its own, which ``run`` enters by its name."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from cwl_userspace import containers
from cwl_userspace.cli import subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.fetch import find_or_fetch
from cwl_userspace.cli.help import show
from cwl_userspace.cli.request import request_of
from cwl_userspace.cli.words import FLAG, LIST, VALUE, Option, Words, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.store.inuse import RUN
from cwl_userspace.store.users import Busy

OPTIONS = (
    Option("--name", VALUE, "a name for run, rm and inspect; the id's beginning if not given", "N"),
    Option("-v --volume", LIST, "bind mount in every run", "SRC:DST[:ro]"),
    Option("--mount", LIST, "bind mount, as CSV", "type=bind,source=S,target=T[,readonly]"),
    Option("-w --workdir", VALUE, "working directory in the container", "DIR"),
    Option("-e --env", LIST, "set a variable, or keep the caller's", "NAME[=VALUE]"),
    Option("--env-file", LIST, "variables from a file", "FILE"),
    Option("--proxy-env", FLAG, "keep the caller's proxy variables"),
    Option("--entrypoint", VALUE, "in place of the image's; empty for none", "PROGRAM"),
    Option("-u --user", VALUE, "name or number of the user inside", "USER[:GROUP]"),
    Option("-h --hostname", VALUE, "name of the host inside", "NAME"),
    Option("--platform", VALUE, "take the image for another platform", "OS/ARCH"),
    Option("-q --quiet", FLAG, "nothing of ours on standard error but errors"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Make a container and print its id. The options are those of run, kept for every run."""
    words = parse("create", OPTIONS, argv, options_end_at_argument=True)
    if words.flag("help"):
        return show("create", "[OPTIONS] IMAGE [COMMAND [ARG...]]", OPTIONS)
    if not words.arguments:
        raise UsageError("create needs an image", "for example: create --name mine debian")
    print(make(context, words))
    return 0


def make(context: Context, words: Words, more: Mapping[str, Any] | None = None) -> str:
    """What ``create`` does with words that are read already; the id of the container.

    ``more`` is what is to be known of it besides: see containers.Container.
    """
    context.log.quiet = context.log.quiet or words.flag("quiet")
    request = request_of(words, context.environ)
    name = words.value("name")
    if "name" in words.values:
        subjects.check_free(context, name)
    image = words.arguments[0]
    record = find_or_fetch(context, image, words.value("platform"))
    document = {**containers.record_of(record, image, request, time.time()), **(more or {})}
    tree = context.stored_tree(record)
    with Busy(context.store, RUN, record.chain.hex):
        _, unread = containers.create(context.store, name, tree, document)
    if unread:
        places = ", ".join(path.removeprefix(tree) for path in unread[:3])
        rest = f" and {len(unread) - 3} more" if len(unread) > 3 else ""
        context.log.say(f"empty in the container, for their modes let nobody read: {places}{rest}")
    return str(document["id"])

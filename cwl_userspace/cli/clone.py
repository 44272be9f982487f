"""``clone``: a container that is a copy of another, with all that was written in that."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from cwl_userspace import containers
from cwl_userspace.cli import subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.containers import Container
from cwl_userspace.errors import UsageError
from cwl_userspace.store.inuse import Use

OPTIONS = (
    Option("--name", VALUE, "a name for the copy; the id's beginning if not given", "NAME"),
    Option("--help", FLAG, "show this text; what runs in it goes on, and may be copied by halves"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Copy a container and print the id of the copy."""
    words = parse("clone", OPTIONS, argv)
    if words.flag("help"):
        return show("clone", "[--name NAME] CONTAINER", OPTIONS)
    if len(words.arguments) != 1:
        raise UsageError("clone needs one container", "see cwl-userspace ps -a")
    context.store.check()
    container = containers.find(context.store, words.arguments[0])
    name = words.value("name")
    if name:
        subjects.check_free(context, name)
    document = record_of(container)
    use = Use(container.rootfs(context.store), container.id)
    use.begin()
    try:
        containers.create(context.store, name, container.rootfs(context.store), document)
    finally:
        use.end()
    print(document["id"])
    return 0


def record_of(container: Container) -> dict[str, Any]:
    """What is to be known of a copy: the same, under an id of its own."""
    return {
        "id": os.urandom(32).hex(),
        "image": container.image,
        "image_name": container.image_name,
        "created": time.time(),
        "config": container.document,
        "hostname": container.hostname,
        "mounts": [[m.source, m.target, m.read_only] for m in container.mounts],
    }

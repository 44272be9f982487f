"""``name`` and ``rmname``: a container may have more names than the one it was created with."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace import aliases, containers
from cwl_userspace.cli import load, subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.containers import Container
from cwl_userspace.errors import ContainerNotFound, UsageError

OPTIONS = (Option("--help", FLAG, "show this text; every name is as good as the first"),)


def command(context: Context, argv: Sequence[str]) -> int:
    """Have a name stand for a container, beside those that it has."""
    words = parse("name", OPTIONS, argv)
    if words.flag("help"):
        return show("name", "CONTAINER NAME", OPTIONS)
    if len(words.arguments) != 2:
        raise UsageError("name needs a container and a name", "see cwl-userspace ps -a")
    text, name = words.arguments
    context.store.check()
    container = containers.find(context.store, text)
    with subjects.claimed(context, name, but=""):
        aliases.add(context.store, name, container.id)
    return 0


def undo(context: Context, argv: Sequence[str]) -> int:
    """Take a name away. What has lost its last one is found by its id."""
    words = parse("rmname", OPTIONS, argv)
    if words.flag("help"):
        return show("rmname", "NAME", OPTIONS)
    if len(words.arguments) != 1:
        raise UsageError("rmname needs a name", "see cwl-userspace ps -a")
    name = words.arguments[0]
    context.store.check()
    container = containers.find(context.store, name)
    if name in aliases.of(context.store, container.id):
        aliases.remove(context.store, name)
        return 0
    if name not in names_of(context, container):
        raise ContainerNotFound(f"no container has the name {name!r}", "see cwl-userspace ps -a")
    return load("rename")(context, [name, container.id[:12]])


def names_of(context: Context, container: Container) -> list[str]:
    """All names of a container, the one it was created with first, if it has that."""
    own = [container.name] if container.name != container.id[:12] else []
    return [*own, *aliases.of(context.store, container.id)]

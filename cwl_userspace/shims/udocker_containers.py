"""udocker's commands for containers, but for ``run`` and ``setup``."""

from __future__ import annotations

import json
import time

from cwl_userspace import aliases, containers, marks
from cwl_userspace.cli import load
from cwl_userspace.cli.fetch import find_or_fetch
from cwl_userspace.cli.name import names_of
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import ContainerNotFound, ImageNotFound, InvalidReference, UsageError
from cwl_userspace.oci import Platform
from cwl_userspace.reference import ImageReference
from cwl_userspace.shims.udocker_modes import mode_of
from cwl_userspace.shims.udocker_words import (
    REGISTRY,
    container_of,
    image_name,
    known_container,
    only,
    place_of,
    quietly,
    shown_id,
    tell,
    use_network,
)
from cwl_userspace.store import records
from cwl_userspace.store.diskuse import disk_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cwl_userspace.cli.context import Context
    from cwl_userspace.containers import Container

IMAGE = "image:tag or repository/image:tag"
WHEN = ("missing", "never", "always", "reuse")
PULL = (
    Option("--platform", VALUE, "an image for another platform", "OS/ARCH"),
    Option("--pull", VALUE, "when to ask the registry", "|".join(WHEN)),
    *REGISTRY,
)
OPTIONS = {
    "create": (
        Option("--name", VALUE, "a name for the container", "NAME"),
        Option("--force", FLAG, "make it without the name, if that is taken"),
        *PULL,
    ),
    "ps": (
        Option("-m", FLAG, "also how each is run"),
        Option("-s", FLAG, "also its size in MB"),
        Option("-p", FLAG, "also its platform"),
    ),
    "inspect": (Option("-p", FLAG, "where its tree is on this host"),),
    "name": (),
    "rename": (),
    "rmname": (),
    "rm": (Option("-f --force", FLAG, "end what runs in it first"),),
    "clone": (Option("--name", VALUE, "a name for the copy", "NAME"),),
}


def create(context: Context, argv: Sequence[str]) -> int:
    """Make a container of an image and print its id."""
    words = parse("create", OPTIONS["create"], argv)
    image = image_name(only("create", words, IMAGE))
    use_network(context, words, image)
    have_image(context, image, words.value("pull", "missing"), words.value("platform"))
    name = words.value("name")
    if name and words.flag("force") and known_container(context, name):
        name = ""
    print(shown_id(make(context, image, name)))
    return 0


def have_image(context: Context, image: str, when: str, platform: str) -> records.Record:
    """The image, fetched if ``when`` says so; raise ImageNotFound where it must not be."""
    if when not in WHEN:
        raise UsageError(f"--pull is {when!r}", f"expected one of {', '.join(WHEN)}")
    if when == "never":
        return records.find(context.store, image)
    if when == "always":
        quietly(context, "pull", [*(["--platform", platform] if platform else []), image])
    return find_or_fetch(context, image, platform)


def make(context: Context, image: str, name: str) -> str:
    """Create a container with our verb; return its id."""
    _, said = quietly(context, "create", [*([f"--name={name}"] if name else []), image])
    return said[-1]


def ps(context: Context, argv: Sequence[str]) -> int:
    """List the containers: id, whether protected and writable, names and image."""
    words = parse("ps", OPTIONS["ps"], argv)
    if words.arguments:
        raise UsageError(f"syntax error at: {words.arguments[0]}", "ps has no arguments")
    context.store.check()
    extra = [title for letter, title in _EXTRA.items() if words.flag(letter)]
    print(f"{'CONTAINER ID':<36} P M {''.join(extra)}{'NAMES':<18} {'IMAGE':<20}")
    for container in containers.every(context.store):
        print(_row(context, container, [letter for letter in _EXTRA if words.flag(letter)]))
    return 0


_EXTRA = {"m": "MOD ", "s": "SIZE ", "p": "PLATFORM           "}


def _row(context: Context, container: Container, extra: Sequence[str]) -> str:
    marked = marks.read(context.store, place_of(container))
    names = names_of(context, container)
    cells = [
        f"{shown_id(container.id):<36}",
        "P" if marked.get("protected") else ".",
        "W",
    ]
    if "m" in extra:
        cells.append(mode_of(context, marked))
    if "s" in extra:
        cells.append(f"{disk_use(container.rootfs(context.store)) // 1_000_000:>5}")
    if "p" in extra:
        cells.append(f"{_platform(context, container):<18}")
    cells += [f"{str(names) if names else '':<18}", f"{_image(container):<20}"]
    return " ".join(cells)


def _platform(context: Context, container: Container) -> str:
    try:
        known = records.by_id(context.store, container.image.removeprefix("sha256:")).document
    except ImageNotFound:
        return str(Platform.host())
    return f"{known.get('os', 'linux')}/{known.get('architecture', '')}"


def _image(container: Container) -> str:
    """The image's name with its tag, as listings show it."""
    if not container.image_name or container.image_name == IMPORTED:
        return IMPORTED
    try:
        return ImageReference.parse(container.image_name).familiar
    except InvalidReference:  # an id
        return container.image_name


# What udocker calls the image of a container that was imported.
IMPORTED = "IMPORTED:unknown"


def inspect(context: Context, argv: Sequence[str]) -> int:
    """Print the configuration of a container or an image, or where its tree is."""
    words = parse("inspect", OPTIONS["inspect"], argv)
    text = only("inspect", words, f"a container or {IMAGE}")
    container = known_container(context, text)
    if container is None:
        record = records.find(context.store, image_name(text))
        if words.flag("p"):
            print(context.stored_tree(record))
            return 0
        document = {**record.document, "id": record.id.hex}
    elif words.flag("p"):
        print(container.rootfs(context.store))
        return 0
    else:
        document = described(context, container)
    print(json.dumps(document, indent=4, sort_keys=True))
    return 0


def described(context: Context, container: Container) -> dict[str, Any]:
    """A container's configuration in the shape of an image's."""
    system, _, machine = _platform(context, container).partition("/")
    return {
        "architecture": machine,
        "config": container.document,
        "container_config": container.document,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(container.created)),
        "id": container.id,
        "os": system,
    }


def name(context: Context, argv: Sequence[str]) -> int:
    """Give a container one more name."""
    words = parse("name", OPTIONS["name"], argv)
    if len(words.arguments) != 2:
        raise UsageError("must specify a container and a name", "udocker name CONTAINER NAME")
    container = container_of(context, words.arguments[0])
    return load("name")(context, [container.id, words.arguments[1]])


def rename(context: Context, argv: Sequence[str]) -> int:
    """Change one name of a container."""
    words = parse("rename", OPTIONS["rename"], argv)
    if len(words.arguments) != 2:
        raise UsageError("must specify a name and a new one", "udocker rename NAME NEW")
    old, new = words.arguments
    container = container_of(context, old)
    if old == container.name:
        return load("rename")(context, [old, new])
    if old not in names_of(context, container):
        raise ContainerNotFound(f"{old!r} is no name of a container", "see udocker ps")
    load("name")(context, [container.id, new])
    aliases.remove(context.store, old)
    return 0


def rmname(context: Context, argv: Sequence[str]) -> int:
    """Take a name away from a container, which stays."""
    text = only("rmname", parse("rmname", OPTIONS["rmname"], argv), "a container's name")
    code, _ = quietly(context, "rmname", [text])
    tell(context, f"container name: {text} removed.")
    return code


def rm(context: Context, argv: Sequence[str]) -> int:
    """Delete containers with all that was written in them."""
    words = parse("rm", OPTIONS["rm"], argv)
    if not words.arguments:
        raise UsageError("must specify a container", "see udocker ps")
    for text in words.arguments:
        delete(context, container_of(context, text), words.flag("force"))
    return 0


def delete(context: Context, container: Container, force: bool) -> None:
    """Remove a container and all its names; raise UserspaceError where it is protected."""
    tell(context, f"deleting container: {shown_id(container.id)}")
    known = aliases.of(context.store, container.id)
    quietly(context, "rm", [*(["--force"] if force else []), container.name])
    for alias in known:
        aliases.remove(context.store, alias)


def clone(context: Context, argv: Sequence[str]) -> int:
    """Copy a container and print the id of the copy."""
    words = parse("clone", OPTIONS["clone"], argv)
    container = container_of(context, only("clone", words, "a container"))
    given = [f"--name={words.value('name')}"] if words.value("name") else []
    _, said = quietly(context, "clone", [*given, container.id])
    copy = containers.find(context.store, said[-1])
    marked = marks.read(context.store, place_of(container))
    marks.write(context.store, place_of(copy), **{**marked, "protected": False})
    print(shown_id(copy.id))
    return 0

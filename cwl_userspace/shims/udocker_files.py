"""udocker's commands that read and write files: import, export, load and save."""

from __future__ import annotations

import json
import os
import time

from cwl_userspace import containers
from cwl_userspace.cli import load as load_verb
from cwl_userspace.cli import subjects
from cwl_userspace.cli.output import write_archive
from cwl_userspace.cli.rights import with_rights
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import ImageError, InvalidReference, UsageError
from cwl_userspace.image import squashfs, tar
from cwl_userspace.image.tarwriter import END, content_of, member
from cwl_userspace.image.treetar import walk
from cwl_userspace.reference import ImageReference
from cwl_userspace.shims.udocker_containers import IMAGE, IMPORTED, described
from cwl_userspace.shims.udocker_images import refuse_known
from cwl_userspace.shims.udocker_words import (
    container_of,
    image_name,
    quietly,
    shown_id,
    tell,
)
from cwl_userspace.store import records
from cwl_userspace.store.remove import remove_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from cwl_userspace.cli.context import Context
    from cwl_userspace.cli.output import Write
    from cwl_userspace.containers import Container

OPTIONS = {
    "import": (
        Option("--mv", FLAG, "remove the tar once it is imported"),
        Option("--tocontainer", FLAG, "make a container, and no image"),
        Option("--clone", FLAG, "make a container of what export --clone wrote"),
        Option("--name", VALUE, "a name for that container", "NAME"),
        Option("--platform", VALUE, "accepted: it is this host's", "OS/ARCH"),
    ),
    "export": (
        Option("-o --output", VALUE, "write to a file, not to standard output", "FILE"),
        Option("--clone", FLAG, "with how it is to be run, for import --clone"),
    ),
    "load": (Option("-i --input", VALUE, "the file; standard input if not given", "FILE"),),
    "save": (Option("-o --output", VALUE, "the file; standard output if not given", "FILE"),),
}
_LOADED = "Loaded image: "
_ROOT, _RECORD, _NAME = "ROOT", "container.json", "imagerepo.name"
_LARGEST = 4 << 20


def import_(context: Context, argv: Sequence[str]) -> int:
    """Make an image or a container of a tar with a tree in it."""
    words = parse("import", OPTIONS["import"], argv)
    if not words.arguments:
        raise UsageError("must specify a tar file", "udocker import FILE|- IMAGE")
    place = words.arguments[0]
    if os.path.isdir(place) or squashfs.is_squashfs(place):
        raise UsageError(f"{place} is no tar file", "cwl-userspace import makes an image of it")
    if words.flag("tocontainer") or words.flag("clone"):
        name = words.value("name")
        if name:
            subjects.check_free(context, name)
        print(shown_id(_container(context, place, name, words.flag("clone"))))
    else:
        if len(words.arguments) != 2:
            raise UsageError(f"must specify {IMAGE}", "udocker import FILE|- IMAGE")
        target = image_name(words.arguments[1])
        refuse_known(context, target)
        _, said = quietly(context, "import", [place, target])
        tell(context, f"added layer {said[-1].removeprefix('sha256:')}")
    if words.flag("mv") and os.path.isfile(place):
        os.unlink(place)
    return 0


def _container(context: Context, place: str, name: str, clone: bool) -> str:
    """A container of a tar; its image is without a name, and only there while this is done."""
    before = set(records.identifiers(context.store))
    _, said = quietly(context, "import", [place])
    record = records.by_id(context.store, said[-1].removeprefix("sha256:"))
    try:
        tree = context.stored_tree(record)
        document = _described(tree, place) if clone else _plain(record)
        containers.create(
            context.store, name, os.path.join(tree, _ROOT) if clone else tree, document
        )
    finally:
        if record.id.hex not in before:
            remove_image(context.store.own, record, False)
    return str(document["id"])


def _plain(record: records.Record) -> dict[str, Any]:
    return _record(record.document.get("config") or {}, IMPORTED, str(record.id))


def _described(tree: str, place: str) -> dict[str, Any]:
    """What an exported clone says of how to run it; what it names must lie in it."""
    root = os.path.join(tree, _ROOT)
    if os.path.islink(root) or not os.path.isdir(root):
        raise ImageError(f"{place} has no directory {_ROOT}", "expected what export --clone wrote")
    try:
        document = json.loads(_text(os.path.join(tree, _RECORD)))
        config = document.get("config") or {}
        if not isinstance(config, dict):
            raise ValueError
    except (OSError, ValueError, AttributeError):
        raise ImageError(
            f"{place} has no {_RECORD} that can be read", "expected what export --clone wrote"
        ) from None
    try:
        name = ImageReference.parse(_text(os.path.join(tree, _NAME)).strip()).familiar
    except (OSError, InvalidReference):
        name = IMPORTED
    return _record(config, name, "")


def _text(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, encoding="utf-8", errors="replace") as file:
        return file.read(_LARGEST)


def _record(config: dict[str, Any], image_name: str, image: str) -> dict[str, Any]:
    return {
        "id": os.urandom(32).hex(),
        "image": image,
        "image_name": image_name,
        "created": time.time(),
        "config": config,
        "hostname": "",
        "mounts": [],
    }


def export(context: Context, argv: Sequence[str]) -> int:
    """Write the tree of a container as a tar."""
    words = parse("export", OPTIONS["export"], argv)
    output = words.value("output")
    names = words.arguments[1:] if words.arguments[:1] == ["-"] else words.arguments
    if len(names) != 1:
        raise UsageError("must specify a container", "udocker export [-o FILE] CONTAINER")
    container = container_of(context, names[0])
    output = "" if output == "-" else output
    if output:
        tell(context, f"exporting to file {output}")
    if not words.flag("clone"):
        given = ["-o", output] if output else []
        return load_verb("export")(context, [*given, container.id])

    def produce(write: Write) -> None:
        for piece in _clone_bytes(context, container):
            write(piece)

    with_rights(lambda: write_archive("export", output, produce))
    return 0


def _clone_bytes(context: Context, container: Container) -> Iterator[bytes]:
    """A tar with the tree below ROOT and, beside it, what is to be known of the container."""
    record = json.dumps(described(context, container), indent=4).encode()
    for name, data in ((_RECORD, record), (_NAME, container.image_name.encode())):
        entry = tar.Entry(tar.REGULAR, name.encode(), b"", 0o644, len(data), container.created)
        yield from member(entry, (data,))
    below = f"{_ROOT}/".encode()
    for entry, path in walk(os.fsencode(container.rootfs(context.store))):
        entry.name = below + entry.name.removeprefix(b"./")
        if entry.kind == tar.HARD_LINK:
            entry.link = below + entry.link
        yield from member(entry, content_of(path))
    yield END


def load(context: Context, argv: Sequence[str]) -> int:
    """Load what docker or udocker saved, and print the images' names."""
    words = parse("load", OPTIONS["load"], argv)
    given = words.value("input")
    if words.arguments[:1] == ["-"]:  # standard input, in whose place NAME would be
        del words.arguments[0]
    code, said = quietly(context, "load", ["-i", given] if given else [])
    names = [line.removeprefix(_LOADED) for line in said if line.startswith(_LOADED)]
    if words.arguments and len(names) == 1:
        names = [image_name(words.arguments[0])]
        load_verb("tag")(context, [said[0].removeprefix(_LOADED), *names])
    print("".join(f"{name}\n" for name in names), end="")
    return code


def save(context: Context, argv: Sequence[str]) -> int:
    """Write images as an archive that docker load and udocker load read."""
    words = parse("save", OPTIONS["save"], argv)
    if not words.arguments:
        raise UsageError(f"must specify {IMAGE}", "udocker save -o FILE IMAGE")
    output = words.value("output")
    given = ["-o", output] if output not in ("", "-") else []
    return load_verb("save")(context, [*given, *map(image_name, words.arguments)])

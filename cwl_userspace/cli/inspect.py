"""``inspect``: what is known of images and containers, in the shape of Docker's JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cwl_userspace.cli import subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.dropped import dropped
from cwl_userspace.cli.help import show
from cwl_userspace.cli.inspect_container import NO_CONFIG, described
from cwl_userspace.cli.subjects import Subject
from cwl_userspace.cli.template import Template
from cwl_userspace.cli.template_functions import as_json
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import ContainerNotFound, ImageNotFound, UsageError
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records
from cwl_userspace.store.records import Record

OPTIONS = (
    Option("-f --format", VALUE, "json, {{json .Config}}, {{.Id}} and the like", "TEMPLATE"),
    Option("-p --path", FLAG, "print the path of the flattened tree instead"),
    Option("-s --size", FLAG, "accepted: the size of an image is always told"),
    Option("--type", VALUE, "only one kind; else a container wins", "image|container"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Print a JSON array with an object for each thing; 1 and ``[]`` if one is not there."""
    words = parse("inspect", OPTIONS, argv)
    if words.flag("help"):
        return show("inspect", "[OPTIONS] IMAGE|CONTAINER...", OPTIONS)
    if not words.arguments:
        raise UsageError("inspect needs an image", "see cwl-userspace images")
    kind = words.value("type")
    if kind not in ("", "image", "container"):
        raise UsageError(f"--type is {kind!r}", "expected image or container")
    context.store.check()
    try:
        found = [_find(context, name, kind) for name in words.arguments]
    except (ImageNotFound, ContainerNotFound) as error:
        if not words.value("format") and not words.flag("path"):
            print("[]", flush=True)
        error.exit_code = 1
        raise
    if words.flag("path"):
        for thing in found:
            print(_tree(context, thing) if isinstance(thing, Subject) else _whole(context, thing))
        return 0
    described = [_describe(context, thing) for thing in found]
    form = words.value("format")
    if form == "json":
        print(as_json(described))
    elif form:
        template = Template(form)
        print("".join(f"{template.render(entry)}\n" for entry in described), end="")
    else:
        print(json.dumps(described, indent=4))
    return 0


def _find(context: Context, name: str, kind: str) -> Record | Subject:
    if kind != "image":
        try:
            return subjects.find(context, name)
        except ContainerNotFound:
            if kind:
                raise
    return records.find(context.store, name)


def _whole(context: Context, record: Record) -> str:
    """The path of a tree that is there, if the image's files are."""
    if context.store.has(record.chain):
        return context.stored_tree(record)
    return context.store.tree(record.chain)


def _tree(context: Context, thing: Record | Subject) -> str:
    """The path of a tree; empty for a run of an image, which has none of its own."""
    if isinstance(thing, Subject):
        return thing.made.rootfs(context.store) if thing.made is not None else ""
    return context.store.tree(thing.chain)


def _describe(context: Context, thing: Record | Subject) -> dict[str, Any]:
    data = {"RootDir": _tree(context, thing)}
    driver = {"Name": "cwl-userspace", "Data": data}
    if isinstance(thing, Subject):
        return {**described(context, thing), "GraphDriver": driver}
    # Whoever reads Docker's JSON strictly expects texts here.
    data["DroppedDevices"], data["DroppedSetuid"] = map(str, dropped(context.store, thing))
    return {**_image(context, thing), "GraphDriver": driver}


def _image(context: Context, record: Record) -> dict[str, Any]:
    tags, digests = [], []
    for name, identifier in records.names(context.store):
        if identifier == str(record.id):
            reference = ImageReference.parse(name)
            if reference.digest is None:
                tags.append(reference.familiar)
            digest = str(reference.digest or record.manifest)
            if digest:
                short = ImageReference(reference.registry, reference.repository, None).familiar
                digests.append(f"{short}@{digest}")
    document = record.document
    return {
        "Id": str(record.id),
        "RepoTags": tags,
        "RepoDigests": list(dict.fromkeys(digests)),
        "Created": document.get("created", ""),
        "Architecture": document.get("architecture", ""),
        "Os": document.get("os", ""),
        "Size": record.size,
        "Config": {**NO_CONFIG, **(document.get("config") or {})},
        "RootFS": {
            "Type": "layers",
            "Layers": (document.get("rootfs") or {}).get("diff_ids", []),
        },
    }

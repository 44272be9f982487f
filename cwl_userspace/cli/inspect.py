"""``inspect``: what is known of images, in the shape of Docker's JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import ImageNotFound, UsageError, UserspaceError
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records

OPTIONS = (
    Option("-f --format", VALUE, "{{json .}}, {{json .Config}}, {{.Id}} and the like", "TEMPLATE"),
    Option("-p --path", FLAG, "print the path of the flattened tree instead"),
    Option("--type", VALUE, "accepted: image", "image"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Print a JSON array with an object for each image; 1 and ``[]`` if one is not there."""
    words = parse("inspect", OPTIONS, argv)
    if words.flag("help"):
        return show("inspect", "[OPTIONS] IMAGE...", OPTIONS)
    if not words.arguments:
        raise UsageError("inspect needs an image", "see cwl-userspace images")
    context.store.check()
    try:
        found = [records.find(context.store, name) for name in words.arguments]
    except ImageNotFound as error:
        if not words.value("format") and not words.flag("path"):
            print("[]", flush=True)
        error.exit_code = 1
        raise
    if words.flag("path"):
        for record in found:
            print(context.store.tree(record.chain))
        return 0
    described = [_describe(context, record) for record in found]
    if words.value("format"):
        for entry in described:
            print(_render(words.value("format"), entry))
    else:
        print(json.dumps(described, indent=4))
    return 0


def _describe(context: Context, record: records.Record) -> dict[str, Any]:
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
        "Config": document.get("config") or {},
        "RootFS": {
            "Type": "layers",
            "Layers": (document.get("rootfs") or {}).get("diff_ids", []),
        },
        "GraphDriver": {
            "Name": "cwl-userspace",
            "Data": {"RootDir": context.store.tree(record.chain)},
        },
    }


def _render(template: str, entry: dict[str, Any]) -> str:
    """The part of Go's templates that callers use: ``{{.A.B}}`` and ``{{json .A.B}}`` in text."""
    text, rest = "", template
    while "{{" in rest:
        before, _, rest = rest.partition("{{")
        action, closed, rest = rest.partition("}}")
        if not closed:
            raise _template_error(template)
        text += before + _action(action.strip(), entry, template)
    return text + rest


def _action(action: str, entry: dict[str, Any], template: str) -> str:
    as_json = action.startswith("json ")
    path = action.removeprefix("json ").strip()
    if not path.startswith("."):
        raise _template_error(template)
    value: Any = entry
    for key in filter(None, path.split(".")):
        if not isinstance(value, dict) or key not in value:
            raise UserspaceError(f"no field {path!r} in an image", f"fields: {', '.join(entry)}")
        value = value[key]
    return json.dumps(value) if as_json or not isinstance(value, str) else value


def _template_error(template: str) -> UserspaceError:
    return UserspaceError(
        f"the template {template!r} cannot be used", "expected {{.Field}} or {{json .Field}}"
    )

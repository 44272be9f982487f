"""A sandbox: an image's tree in a directory, with what its configuration says as scripts in it."""

from __future__ import annotations

import json
import os
import shlex
from typing import Any

from cwl_userspace import asroot
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.output import aside_of
from cwl_userspace.cli.rights import with_rights
from cwl_userspace.errors import StoreError
from cwl_userspace.shims.singularity_file import of_tree
from cwl_userspace.shims.singularity_image import METADATA, Sandbox
from cwl_userspace.store.records import Record, by_id


def packed(context: Context, sandbox: Sandbox) -> Record:
    """The image of a sandbox, filed in the store."""
    taken, out = os.pipe()
    with open(taken, "rb") as pipe:
        with open(out, "wb") as file:

            def work() -> None:
                file.write(of_tree(context, sandbox.path, sandbox.path).id.hex.encode())
                file.flush()

            with_rights(work)
        return by_id(context.store, pipe.read().decode())


def write_sandbox(context: Context, image: Record | Sandbox, target: str) -> None:
    """Copy an image's tree to a directory, which is there when it is whole; raise StoreError."""
    source = image.path if isinstance(image, Sandbox) else context.stored_tree(image)
    with aside_of(target) as aside:
        unread = asroot.copy_tree(source, aside)
        if unread:
            raise StoreError(
                f"{unread[0]} is closed to its owner by its mode",
                "do it as root, or where there are user namespaces",
            )
        os.chmod(aside, 0o755)
        if not os.path.isdir(os.path.join(aside, METADATA)):
            _describe(aside, image.document)


def _describe(tree: str, document: dict[str, Any]) -> None:
    """Write the scripts that singularity would make of an image's configuration."""
    config = document.get("config") or {}
    _put(tree, "labels.json", json.dumps(config.get("Labels") or {}, indent=1, sort_keys=True))
    _put(tree, "env/10-docker2singularity.sh", environment_of(config), 0o755)
    _put(tree, "runscript", runscript_of(config), 0o755)


def environment_of(config: dict[str, Any]) -> str:
    """A script that sets an image's variables; those that the caller has win, but for PATH."""
    lines = []
    for setting in config.get("Env") or ():
        name, equals, value = str(setting).partition("=")
        if not equals or not (name.isascii() and name.isidentifier()):
            continue
        if name == "PATH":
            lines.append(f"export PATH={shlex.quote(value)}")
        else:
            lines.append(f'if [ -z "${{{name}+x}}" ]; then export {name}={shlex.quote(value)}; fi')
    return "\n".join(["#!/bin/sh", *lines, ""])


def runscript_of(config: dict[str, Any]) -> str:
    """A script that does what an image's configuration says is to be run."""
    entrypoint = " ".join(map(shlex.quote, config.get("Entrypoint") or ()))
    command = " ".join(map(shlex.quote, config.get("Cmd") or ()))
    if not entrypoint:
        command = command or "/bin/sh"
    return f"""\
#!/bin/sh
if [ $# -eq 0 ]; then set -- {command}; fi
exec {entrypoint} "$@"
"""


def _put(tree: str, name: str, text: str, mode: int = 0o644) -> None:
    path = os.path.join(tree, METADATA, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "x", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.chmod(path, mode)

"""``flatten``: an image's tree as a directory, a tar, or a squashfs file, for any other program."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import zstandard

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.fetch import find_or_fetch
from cwl_userspace.cli.help import show
from cwl_userspace.cli.output import Write, aside_of, write_archive
from cwl_userspace.cli.rights import with_rights
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import StoreError, UsageError
from cwl_userspace.image import squashfs
from cwl_userspace.image.treetar import tree_bytes
from cwl_userspace.store import copy
from cwl_userspace.store.records import Record

OPTIONS = (
    Option("--format", VALUE, "dir, tar, tar.zst or squashfs; else TARGET's ending says it", "F"),
    Option("--config", VALUE, "write how the image is to be run, for import --config", "FILE"),
    Option("-f --force", FLAG, "replace TARGET if it is there"),
    Option("--platform", VALUE, "take the image for another platform", "OS/ARCH"),
    Option("-q --quiet", FLAG, "no progress"),
    Option("--help", FLAG, "show this text; the same image gives the same bytes"),
)
DIRECTORY, TAR, TAR_ZST, SQUASHFS = "dir", "tar", "tar.zst", "squashfs"
_ENDINGS = {".tar": TAR, ".tar.zst": TAR_ZST, ".tzst": TAR_ZST, ".squashfs": SQUASHFS,
            ".sqfs": SQUASHFS, ".sqsh": SQUASHFS}  # fmt: skip
_LEVEL = 3
# What a configuration says of layers means nothing for a tree.
_OF_LAYERS = ("rootfs", "history")


def command(context: Context, argv: Sequence[str]) -> int:
    """Write one image, whole or not at all; ``-`` is standard output."""
    words = parse("flatten", OPTIONS, argv)
    if words.flag("help"):
        return show("flatten", "[OPTIONS] IMAGE TARGET|-", OPTIONS)
    if len(words.arguments) != 2:
        raise UsageError(
            "flatten needs an image and a target", "cwl-userspace flatten IMAGE TARGET|-"
        )
    image, target = words.arguments
    form = words.value("format") or _form_of(target)
    config = words.value("config")
    _check(form, target, [target, config] if config else [target], words.flag("force"))
    context.log.quiet = context.log.quiet or words.flag("quiet")
    record = find_or_fetch(context, image, words.value("platform"))
    rootfs = context.stored_tree(record)
    work = {
        DIRECTORY: lambda: _directory(rootfs, target),
        TAR: lambda: write_archive("flatten", _file(target), lambda write: _tar(rootfs, write)),
        TAR_ZST: lambda: write_archive("flatten", _file(target), lambda write: _zst(rootfs, write)),
        SQUASHFS: lambda: _squashfs(context, rootfs, target),
    }[form]
    with_rights(work)
    if config:
        text = configuration(record)
        write_archive("flatten", config, lambda write: write(text))
    return 0


def configuration(record: Record) -> bytes:
    """How an image is to be run, for which platform, as an OCI configuration without layers."""
    kept = {key: value for key, value in record.document.items() if key not in _OF_LAYERS}
    return json.dumps(kept, sort_keys=True, indent=1).encode() + b"\n"


def _form_of(target: str) -> str:
    if target == "-":
        return TAR
    return next((form for end, form in _ENDINGS.items() if target.endswith(end)), DIRECTORY)


def _check(form: str, target: str, written: Sequence[str], force: bool) -> None:
    if form not in (DIRECTORY, TAR, TAR_ZST, SQUASHFS):
        raise UsageError(f"--format is {form!r}", "expected dir, tar, tar.zst or squashfs")
    if target == "-" and form in (DIRECTORY, SQUASHFS):
        raise UsageError(f"a {form} cannot go to standard output", "take --format tar or tar.zst")
    for path in written:
        if path != "-" and not force and os.path.lexists(path):
            raise UsageError(f"{path} is there already", "give --force to replace it")
        directory = os.path.dirname(os.path.abspath(path))
        if path != "-" and not os.path.isdir(directory):
            raise UsageError(f"there is no directory {directory} for {path!r}", "make it first")


def _file(target: str) -> str:
    """The file as ``write_archive`` has it, to which standard output is no name."""
    return "" if target == "-" else target


def _tar(rootfs: str, write: Write) -> None:
    for piece in tree_bytes(rootfs):
        write(piece)


def _zst(rootfs: str, write: Write) -> None:
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
    for piece in tree_bytes(rootfs):
        if packed := packer.compress(piece):
            write(packed)
    write(packer.flush())


def _directory(rootfs: str, target: str) -> None:
    with aside_of(target) as aside:
        unread = copy.copy_tree(rootfs, aside)
        if unread:
            raise StoreError(
                f"{unread[0]} is closed to its owner by its mode",
                "do it as root, or where there are user namespaces",
            )


def _squashfs(context: Context, rootfs: str, target: str) -> None:
    with aside_of(target) as aside:
        squashfs.pack(rootfs, aside, context.environ)

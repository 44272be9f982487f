"""``pull`` and ``build``: an image as one file, or as a sandbox that may be changed."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.words import FLAG, LIST, VALUE, Option, Words, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.reference import ImageReference
from cwl_userspace.shims.singularity_environment import said
from cwl_userspace.shims.singularity_file import holds, write
from cwl_userspace.shims.singularity_image import DOCKER, INSTANCE, Sandbox, find, split
from cwl_userspace.shims.singularity_options import platform_of
from cwl_userspace.shims.singularity_sandbox import packed, write_sandbox
from cwl_userspace.store.records import Record

_FLAGS = (
    "--nohttps --no-https, --disable-cache, --no-cleanup, --docker-login, --allow-unsigned -U, "
    "--allow-unauthenticated, --oci, --no-oci, --no-setgroups, --keep-layers, -T --notest, "
    "-u --userns, --fix-perms, -e --encrypt, -r --remote, -d --detached, --nv, --rocm, "
    "--ignore-fakeroot-command, --ignore-subuid, --ignore-userns, --passphrase, --no-eval, "
    "--json, -s --sandbox, -f --fakeroot, -F --force, --update, -h --help"
)
_VALUES = (
    "--library, --docker-username, --docker-password, --docker-host, --authfile, --section, "
    "--builder, --pem-path, --tmpdir, --arch-variant, --mksquashfs-args, --arch, --platform, "
    "--name, --dir --path"
)
_LISTS = "--bind -B, --mount, --build-arg, --build-arg-file, --warn-unused-build-args, --scratch"
PULL = (
    *(Option(s, FLAG, "") for s in _FLAGS.split(", ") if s != "-f --fakeroot"),
    *(Option(spellings, VALUE, "") for spellings in _VALUES.split(", ")),
)
BUILD = (
    *(Option(spellings, FLAG, "") for spellings in _FLAGS.split(", ")),
    *(Option(spellings, VALUE, "") for spellings in _VALUES.split(", ")),
    *(Option(spellings, LIST, "") for spellings in _LISTS.split(", ")),
)
_USAGE = {
    "pull": "pull [--force] [--dir DIR] [--name FILE | FILE] docker://IMAGE",
    "build": "build [--force] [--sandbox] [--fakeroot] FILE docker://IMAGE|ARCHIVE|DIR|FILE.def",
}


def pull(context: Context, argv: Sequence[str]) -> int:
    """Fetch an image into a file."""
    words = parse("pull", PULL, argv)
    if words.flag("help") or not 1 <= len(words.arguments) <= 2:
        return _usage("pull", words)
    *file, text = words.arguments
    name = words.value("name") or (file[0] if file else _name_of(text))
    place = words.value("path") or said(context.environ, "PULLDIR")
    target = os.path.join(place, name) if place else name
    force = words.flag("force")
    if force or not os.path.isfile(target):  # which may be this image's: that is seen below
        _check(target, force)
    if split(text)[0] in ("", INSTANCE):
        raise UsageError(f"pull has no place {text!r}", "for example: pull docker://debian")
    if split(text)[0] == DOCKER:  # another image may be behind the same name by now
        image = _fresh(context, text, platform_of(words))
    else:
        found = find(context, text, platform_of(words))
        assert isinstance(found, Record)
        image = found
    # Another job may have had it pulled since the caller looked for it.
    if force or not holds(context, image, target):
        _check(target, force)
        write(context, image, target)
    return 0


def build(context: Context, argv: Sequence[str]) -> int:
    """Make a file, or a sandbox, of an image or of a definition."""
    words = parse("build", BUILD, argv)
    if words.flag("help") or len(words.arguments) != 2:
        return _usage("build", words)
    target, text = words.arguments
    update = words.flag("update") and os.path.isdir(target)
    if update:
        raise UsageError("build cannot do what --update asks for", "build it anew, with --force")
    if words.flag("encrypt"):
        raise UsageError("build cannot do what --encrypt asks for", "leave the option out")
    _check(target, words.flag("force"))
    image = _source(context, words, text)
    if words.flag("sandbox"):
        write_sandbox(context, image, target)
    elif isinstance(image, Sandbox):
        write(context, packed(context, image), target)
    else:
        write(context, image, target)
    return 0


def _source(context: Context, words: Words, text: str) -> Record | Sandbox:
    """The image that is to be written: of a definition, which is built now, or of any place."""
    if split(text)[0] or not os.path.isfile(text) or not _is_definition(text):
        return find(context, text, platform_of(words))
    from cwl_userspace.shims.singularity_recipe import built

    return built(context, words, text)


def _is_definition(path: str) -> bool:
    """True for a text that begins as a definition does."""
    with open(path, "rb") as file:
        head = file.read(1 << 16)
    if b"\0" in head:
        return False
    lines = (line.strip().lower() for line in head.splitlines())
    return any(line.startswith(b"bootstrap:") for line in lines)


def _fresh(context: Context, text: str, platform: str) -> Record:
    from cwl_userspace.cli.fetch import fetch

    context.store.check()
    reference = ImageReference.parse(split(text)[1])
    return fetch(context, reference, platform, refresh=reference.digest is None)


def _check(target: str, force: bool) -> None:
    directory = os.path.dirname(os.path.abspath(target))
    if os.path.lexists(target) and not force:
        raise UsageError(f"{target} is there already", "give --force to replace it")
    if not os.path.isdir(directory):
        raise UsageError(f"there is no directory {directory} for {target!r}", "make it first")


def _name_of(text: str) -> str:
    """``docker://me/tool:1`` is written to ``tool_1.sif``."""
    scheme, rest = split(text)
    if scheme != DOCKER:
        return f"{os.path.basename(rest).split('.')[0]}.sif"
    reference = ImageReference.parse(rest)
    last = reference.repository.rpartition("/")[2]
    return f"{last}_{reference.tag or str(reference.digest).partition(':')[2]}.sif"


def _usage(verb: str, words: Words) -> int:
    if not words.flag("help"):
        raise UsageError(f"{verb} has {len(words.arguments)} arguments", _USAGE[verb])
    print(f"usage: singularity {_USAGE[verb]}")
    return 0

"""The image that a word of singularity's means: a file, a sandbox, or a place to fetch it from."""

from __future__ import annotations

import os

from cwl_userspace.errors import ImageError, ImageNotFound, UsageError
from cwl_userspace.shims import singularity_notes as notes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cwl_userspace.cli.context import Context
    from cwl_userspace.store.records import Record

DOCKER, INSTANCE = "docker", "instance"
_ARCHIVES = ("docker-archive", "oci-archive")
_REFUSED = {
    "docker-daemon": "write it with docker save, and take docker-archive:FILE",
    "library": "take the same image from a registry, with docker://",
    "shub": "take the same image from a registry, with docker://",
    "oras": "take the same image from a registry, with docker://",
    "http": "fetch the file first",
    "https": "fetch the file first",
    "ipfs": "fetch the file first",
}
_KNOWN = ("docker", "oci", *_ARCHIVES, *_REFUSED, INSTANCE)
METADATA = ".singularity.d"


class Sandbox:
    """A directory with a root file system, run where it is."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def document(self) -> dict[str, Any]:
        """What is known of how it is to be run: its own scripts say the rest."""
        return {"config": {}}


def split(text: str) -> tuple[str, str]:
    """The scheme, empty for a path, and what comes after it."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in _KNOWN or os.path.lexists(text):
        return "", text
    return scheme, rest.removeprefix("//")


def find(context: Context, text: str, platform: str = "") -> Record | Sandbox:
    """The image, in the store, or the sandbox; raise ImageError where there is none."""
    scheme, rest = split(text)
    if scheme == DOCKER:
        from cwl_userspace.cli.fetch import find_or_fetch

        return find_or_fetch(context, rest, platform)
    if scheme in _REFUSED:
        raise UsageError(f"there are no images from {scheme}: here", _REFUSED[scheme])
    if scheme == "oci":
        return _layout(context, rest)
    if not os.path.exists(rest):
        if not scheme and "://" in rest:
            unknown = rest.partition(":")[0]
            hint = (
                f"expected docker:, oci:, {', '.join(f'{kind}:' for kind in _ARCHIVES)} or a file"
            )
            raise UsageError(f"there are no images from {unknown}: here", hint)
        hint = f"docker://{text} is fetched from a registry" if not scheme else "name a file"
        raise ImageNotFound(f"there is no image {rest!r}", hint)
    if os.path.isdir(rest) and not scheme:
        if os.path.isfile(os.path.join(rest, "oci-layout")):
            return _layout(context, rest)
        return Sandbox(os.path.realpath(rest))
    known = _noted(context, rest)
    if known is not None:
        return known
    from cwl_userspace.shims.singularity_file import read

    return read(context, rest)


def _noted(context: Context, path: str) -> Record | None:
    """The image of a file that was read before: on the way of every run."""
    try:
        return notes.find(context, notes.of_file(os.stat(path)))
    except OSError:
        return None


def _layout(context: Context, text: str) -> Record:
    """The image of an OCI layout: its only one, or that of a name after a colon."""
    from cwl_userspace.image.layout import Layout, name_of
    from cwl_userspace.oci import Platform
    from cwl_userspace.shims.singularity_file import stored_image

    place, _, wanted = text.partition(":") if not os.path.isdir(text) else (text, "", "")
    layout = Layout.directory(place)
    entries = layout.entries()
    host = Platform.host()
    fitting = [
        entry
        for entry in entries
        if (not wanted or wanted in (name_of(entry), name_of(entry).rpartition(":")[2]))
        and (entry.platform is None or host.accepts(entry.platform))
    ]
    if len(fitting) != 1:
        has = ", ".join(sorted(filter(None, map(name_of, entries)))) or "no names"
        raise ImageError(f"{text} names {len(fitting)} images", f"it has {has}")
    return stored_image(context, text, layout.resolve(fitting[0], host, text), layout)

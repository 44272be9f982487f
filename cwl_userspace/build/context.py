"""The context of a build: a directory, or what came over standard input; and its Dockerfile."""

from __future__ import annotations

import os
from typing import NamedTuple

from cwl_userspace.build import adding
from cwl_userspace.build.dockerfile import Dockerfile, parse
from cwl_userspace.build.patterns import Ignored
from cwl_userspace.build.sources import Item, Place, Source
from cwl_userspace.errors import DockerfileError, UsageError

_CHUNK = 1 << 20
_LARGEST = 16 << 20
_LABEL = "the context"


class Input(NamedTuple):
    """What is to be built."""

    dockerfile: Dockerfile
    context: Place


def read(path: str, file: str, private: str) -> Input:
    """The Dockerfile and the context that Docker's words mean.

    ``path`` is a directory, or ``-`` for a Dockerfile or a tar of a context on standard input;
    ``file`` the Dockerfile, if it is not the context's own; ``private`` a directory for what is
    unpacked. Raise UsageError for a place that cannot be used.
    """
    if "://" in path or path.startswith("git@"):
        raise UsageError(f"the context {path!r} is not a directory", "fetch it first")
    if path == "-" and file == "-":
        raise UsageError("standard input cannot be both", "give the context or the Dockerfile")
    directory = path
    if path == "-":
        directory = os.path.join(private, "context")
        dockerfile = _from_standard_input(private, directory)
        if dockerfile is not None:
            return Input(parse(dockerfile, "standard input"), Place(directory, _LABEL))
    if not os.path.isdir(directory):
        raise UsageError(f"the context {path!r} is not a directory", "give the directory to build")
    name = file or os.path.join(directory, "Dockerfile")
    content = _content(name)
    ignored = _ignored(directory, name)
    label = "standard input" if name == "-" else os.path.basename(name)
    return Input(parse(content, label), Place(directory, _LABEL, ignored))


def _from_standard_input(private: str, directory: str) -> bytes | None:
    """A Dockerfile, with an empty context; or None, and a context in ``directory``."""
    if os.isatty(0):
        raise UsageError("build reads from a terminal", "give a directory, or pipe a Dockerfile in")
    aside = os.path.join(private, "standard-input")
    with open(aside, "xb") as file:
        while chunk := os.read(0, _CHUNK):
            file.write(chunk)
    path = os.fsencode(aside)
    source = Source(b"standard input", (Item(b"", path, os.lstat(path)),), False)
    if adding.is_archive(source):
        unpacked = adding.unpacked(source, private)
        os.rename(unpacked.items[0].path, directory)
        return None
    os.mkdir(directory)
    return _content(aside)


def _content(name: str) -> bytes:
    try:
        with open(0 if name == "-" else name, "rb", closefd=name != "-") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise DockerfileError(
            f"{name} cannot be read: {error.strerror}", "name the Dockerfile with -f"
        ) from None
    if len(content) > _LARGEST:
        raise DockerfileError(f"{name} is larger than {_LARGEST} bytes", "expected a Dockerfile")
    return content


def _ignored(directory: str, name: str) -> Ignored:
    """``NAME.dockerignore`` beside the Dockerfile comes before the context's ``.dockerignore``."""
    for path in (f"{name}.dockerignore", os.path.join(directory, ".dockerignore")):
        try:
            with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
                return Ignored(file.read().splitlines())
        except OSError:
            continue
    return Ignored(())

"""``cp``: copy files into a container or out of it, while it runs or not, or as a tar."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.inside import Seen, seen
from cwl_userspace.cli.output import Write, write_archive
from cwl_userspace.cli.rights import with_rights
from cwl_userspace.cli.words import FLAG, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.image import tar
from cwl_userspace.image.confine import Root
from cwl_userspace.image.stream import decompressed
from cwl_userspace.image.tarwriter import END, member
from cwl_userspace.transfer.place import Place, failure, find
from cwl_userspace.transfer.reading import HERE, entries
from cwl_userspace.transfer.writing import Writer, archived

OPTIONS = (
    Option("-L --follow-link", FLAG, "copy what a link leads to, and not the link"),
    Option("-a --archive", FLAG, "accepted: modes and times are kept, all files are yours"),
    Option("-q --quiet", FLAG, "accepted: nothing is printed"),
    Option("--help", FLAG, "show this text"),
)
_STREAM = "-"
_CHUNK = 1 << 20


def command(context: Context, argv: Sequence[str]) -> int:
    """Copy by Docker's rules of what a name that ends with ``/`` or ``/.`` means."""
    words = parse("cp", OPTIONS, argv)
    if words.flag("help"):
        return show("cp", "CONTAINER:PATH PATH|- | PATH|- CONTAINER:PATH", OPTIONS)
    if len(words.arguments) != 2:
        raise UsageError("cp needs two places", "cwl-userspace cp CONTAINER:PATH PATH")
    (source, from_path), (target, to_path) = map(_split, words.arguments)
    if bool(source) == bool(target):
        raise UsageError(
            "cp copies between a container and the host",
            "expected CONTAINER:PATH as the one place, and PATH or - as the other",
        )
    follow = words.flag("follow-link")
    if source:
        there = seen(context, source)
        _done(there, lambda: _out(there, from_path, to_path, follow))
    else:
        there = seen(context, target)
        _done(there, lambda: _into(there, from_path, to_path, follow))
    return 0


def _split(text: str) -> tuple[str, str]:
    """The container, if there is one, and the path; a colon in a path is after a slash or a dot."""
    container, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")) or text == _STREAM:
        return "", text
    return container, path


def _done(there: Seen, work: Callable[[], None]) -> None:
    """The modes of a stored tree do not keep its owner out."""
    if there.stored:
        with_rights(work)
    else:
        work()


def _out(there: Seen, path: str, target: str, follow: bool) -> None:
    follow = follow or _asks_for_directory(path)
    root, inner, _ = there.at(path, follow)
    source = find(Root(root), os.fsencode(inner), follow, path)
    _check(source, path)
    if target != _STREAM:
        _copy(source, path, _on_host(target, True), target)
        return

    def produce(write: Write) -> None:
        for entry, content in entries(source, _name(source, path), lambda identity: False):
            for piece in member(entry, content):
                write(piece)
        write(END)

    write_archive("cp", "", produce)


def _into(there: Seen, path: str, target: str, follow: bool) -> None:
    root, inner, read_only = there.at(target, True)
    if read_only:
        raise failure(f"{target!r} is read-only in the container", "choose another place")
    place = find(Root(root), os.fsencode(inner), True, target)
    if path == _STREAM:
        if not place.is_directory:
            raise failure(f"{target!r} is no directory of the container", "make it first")
        data = tar.Bytes(decompressed(_standard_input(), "standard input"), "standard input")
        Writer(place.root, place.parts, data).write(archived(data))
        return
    source = _on_host(path, follow)
    _check(source, path)
    _copy(source, path, place, target)


def _copy(source: Place, path: str, target: Place, to_path: str) -> None:
    """Copy a file or a tree; raise UserspaceError where Docker's rules allow it no place."""
    name = _name(source, path)
    if target.is_directory:
        base = target.parts
    else:
        if target.mode and source.is_directory:
            raise failure(f"{to_path!r} is no directory", "a directory does not replace a file")
        if target.mode and not stat.S_ISREG(target.mode):
            raise failure(f"{to_path!r} is neither a directory nor a file", "choose another place")
        if _asks_for_directory(to_path) and not (source.is_directory and not target.mode):
            raise failure(f"the directory {to_path!r} is not there", "make it first")
        base, name = target.parts[:-1], target.parts[-1]
    writer = Writer(target.root, base)
    writer.write(entries(source, name, writer.has_made))


def _check(source: Place, path: str) -> None:
    if not source.mode:
        raise failure(f"no file or directory {path!r}", "look at it with ls")
    if _asks_for_directory(path) and not source.is_directory:
        raise failure(f"{path!r} is no directory", "leave out what is after the last slash")


def _name(source: Place, path: str) -> bytes:
    """What a copy is called where it gets a name of its own: ``.`` if its inside is meant."""
    given = os.path.basename(path.rstrip("/")) if os.path.basename(path) != "." else ""
    if given == ".." and source.parts:
        return source.parts[-1]
    return os.fsencode(given) if given not in ("", "..") else HERE


def _asks_for_directory(path: str) -> bool:
    return os.path.basename(path) in ("", ".", "..")


def _on_host(path: str, follow: bool) -> Place:
    """A place of the host, where links lead wherever they lead."""
    if follow or _asks_for_directory(path):
        folder, name = os.path.split(os.path.realpath(path))
    else:
        folder, name = os.path.split(path)
    try:
        root = Root(folder or ".")
    except OSError as error:
        raise failure(
            f"the directory {folder!r} cannot be used: {str(error.strerror).lower()}",
            "look at it with ls",
        ) from None
    return find(root, os.fsencode(name), False, path)


def _standard_input() -> Iterator[bytes]:
    while chunk := os.read(0, _CHUNK):
        yield chunk

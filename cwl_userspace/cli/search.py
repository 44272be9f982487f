"""``search``: what a registry has, by Docker Hub's search or the registry's own list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.fetch import sources
from cwl_userspace.cli.help import show
from cwl_userspace.cli.table import table
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import ImageError, ImageNotFound, RegistryError, UsageError
from cwl_userspace.image.layout import Layout, name_of
from cwl_userspace.reference import DOCKER_HUB, ImageReference

if TYPE_CHECKING:
    from cwl_userspace.image.catalogue import Found
    from cwl_userspace.image.source import Source

OPTIONS = (
    Option("--list-tags", FLAG, "the tags of the repository that is named, a line each"),
    Option("--limit", VALUE, "no more than so many; 25", "N"),
    Option("--no-trunc", FLAG, "whole descriptions"),
    Option("--index", VALUE, "a Docker Hub's search in place of hub.docker.com", "URL"),
    Option("--help", FLAG, "show this text; docker.io's mirrors are searched in its place"),
)
_TITLES = {"Name": "NAME", "Description": "DESCRIPTION", "Stars": "STARS", "Official": "OFFICIAL"}
_WIDTH = 45


def command(context: Context, argv: Sequence[str]) -> int:
    """List repositories whose names have the words in them, or the tags of one."""
    words = parse("search", OPTIONS, argv)
    if words.flag("help"):
        return show("search", "[OPTIONS] [REGISTRY/]WORDS", OPTIONS)
    if len(words.arguments) != 1:
        raise UsageError("search needs one thing to look for", "for example: search quay.io/khmer")
    limit = words.value("limit", "25")
    if not (limit.isascii() and limit.isdigit()):
        raise UsageError(f"--limit is {limit!r}", "expected a number")
    text = words.arguments[0]
    if words.flag("list-tags"):
        print("".join(f"{tag}\n" for tag in tags_of(context, text)), end="")
        return 0
    rows = [
        {
            "Name": found.name,
            "Description": found.description if words.flag("no-trunc") else _cut(found.description),
            "Stars": str(found.stars),
            "Official": "[OK]" if found.official else "",
        }
        for found in islice(repositories(context, text, words.value("index")), int(limit))
    ]
    print(table(_TITLES, rows), end="")
    return 0


def repositories(context: Context, text: str, index: str = "") -> Iterator[Found]:
    """What fits ``[REGISTRY/]WORDS``. Docker Hub's mirrors that are set up stand in for it.

    Raise ImageError where nobody can be asked.
    """
    registry, wanted = _split(text)
    reference = ImageReference(registry, "search", "latest")
    places = sources(context, reference)
    if registry == DOCKER_HUB and not context.settings.offline:
        places = places[:-1]  # Docker Hub gives no list
    if index or not places:
        from cwl_userspace.image.catalogue import HUB_SEARCH, hub_search
        from cwl_userspace.image.registry import Registry

        base = (index or HUB_SEARCH).rstrip("/").removesuffix("/v1").removesuffix("/v2")
        try:
            yield from hub_search(wanted, base)
            return
        except RegistryError:
            if not index:
                raise
        places = [Registry(registry, endpoint=base)]  # it has no search, but it may give a list
    from cwl_userspace.image.catalogue import Found

    seen = set()
    failed: ImageError | None = None
    for place in places:
        try:
            for repository in _listed(place, registry):
                shown = ImageReference(registry, repository, None).familiar
                if wanted in repository and shown not in seen:
                    seen.add(shown)
                    yield Found(shown)
        except ImageError as error:
            failed = error  # what another place has is an answer
    if failed is not None:
        if not seen:
            raise failed
        context.log.say(str(failed))


def tags_of(context: Context, text: str) -> Iterator[str]:
    """The tags of the repository that is named, as the first place has them that has any."""
    reference = ImageReference.parse(text)
    errors: list[ImageError] = []
    for place in sources(context, reference):
        try:
            found = list(_tags(place, reference))
        except ImageError as error:
            errors.append(error)
            continue
        if found:
            yield from found
            return
    if errors:
        raise errors[-1]
    raise ImageNotFound(f"nobody has a tag of {reference.familiar}", "check the name")


def _split(text: str) -> tuple[str, str]:
    head, slash, rest = text.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        return (DOCKER_HUB if head == DOCKER_HUB else head), rest
    return DOCKER_HUB, text


def _listed(place: Source, registry: str) -> Iterator[str]:
    if isinstance(place, Layout):
        for reference in _named(place):
            if reference.registry == registry:
                yield reference.repository
        return
    yield from _registry("repositories", place)


def _tags(place: Source, reference: ImageReference) -> Iterator[str]:
    if isinstance(place, Layout):
        for named in _named(place):
            if named.name == reference.name and named.tag:
                yield named.tag
        return
    yield from _registry("tags", place, reference.repository)


def _registry(what: str, place: Source, *more: str) -> Iterator[str]:
    """A list of a registry; offline what stands in its place says why there is none."""
    from cwl_userspace.image.offline import Closed

    if isinstance(place, Closed):
        return
    from cwl_userspace.image import catalogue

    yield from getattr(catalogue, what)(place, *more)


def _named(layout: Layout) -> Iterator[ImageReference]:
    for entry in layout.entries():
        name = name_of(entry)
        if name:
            yield ImageReference.parse(name)


def _cut(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"

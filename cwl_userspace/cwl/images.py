"""A DockerRequirement in a form that cwltool can use and whose image is the one it means.

cwltool wants a dockerImageId for all but dockerPull, asks for that name alone whether the image is
there, and makes the key of its cache of that name. So an image that comes of a file is called by
a name made of what is in the file: another file is another image, and another key. Of a URL only
the address is known, so it is fetched once, as the tag of dockerPull is.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple, NoReturn

from cwltool.errors import UnsupportedRequirement, WorkflowException
from cwltool.loghandler import _logger
from schema_salad.sourceline import SourceLine

from cwl_userspace.cwl.acquire import acquire, has
from cwl_userspace.cwl.places import digest, is_web, place_of
from cwl_userspace.cwl.store import store_of
from cwl_userspace.errors import UserspaceError
from cwl_userspace.reference import ImageReference
from cwl_userspace.settings import Settings, load
from cwl_userspace.store.store import Store

Requirement = MutableMapping[str, Any]
Fetch = Callable[[], None]

# In the order in which cwltool looks: the first one counts.
SOURCES = ("dockerFile", "dockerPull", "dockerLoad", "dockerImport")


class Want(NamedTuple):
    """A DockerRequirement, whether it is more than a hint, and the document that it stands in."""

    requirement: Requirement
    required: bool
    document: str

    def refuse(self, key: str, error: UserspaceError | str) -> NoReturn:
        """Raise what cwltool raises, with the place in the document before the reason."""
        kind = UnsupportedRequirement if self.required else WorkflowException
        raise SourceLine(self.requirement, key, kind).makeError(str(error)) from None

    def text(self, key: str) -> str:
        """A field, or nothing."""
        return str(self.requirement.get(key) or "")

    @property
    def sources(self) -> list[str]:
        """The fields that say where the image comes from; the first one counts."""
        return [key for key in SOURCES if self.text(key)]


def check(want: Want) -> None:
    """Refuse a DockerRequirement that names no image, or by a name that none can have."""
    if not want.sources and not want.text("dockerImageId"):
        want.refuse(
            "class",
            "this DockerRequirement names no image; "
            f"add one of {', '.join((*SOURCES[1:], SOURCES[0]))} or dockerImageId",
        )
    if want.sources and want.sources[0] == "dockerPull":
        try:
            ImageReference.parse(want.text("dockerPull"))
        except UserspaceError as error:
            want.refuse("dockerPull", error)
    for other in want.sources[1:]:
        _logger.warning(
            SourceLine(want.requirement, other, str).makeError(
                f"{other} is not used, because {want.sources[0]} says where the image comes from"
            )
        )


def prepared(want: Want, pull: bool, anew: bool) -> tuple[Requirement, Fetch]:
    """The requirement for cwltool, as it is or a copy, and what puts its image into the store.

    Without *pull* that puts nothing there that comes from elsewhere; *anew* is cwltool's
    --force-docker-pull. Both raise UnsupportedRequirement or WorkflowException, as cwltool does,
    with the place in the document.
    """
    kind = want.sources[0] if want.sources else ""
    if kind == "dockerPull":
        return want.requirement, _nothing
    if kind == "dockerFile":
        if want.text("dockerImageId") or want.text("dockerPull"):
            return want.requirement, _nothing
        return _with_id(want, _name(kind, want.text(kind))), _nothing
    try:
        settings = load(os.environ)
        store = store_of(settings)
        if not kind:
            return want.requirement, lambda: _local(want, store)
        return _from_file(want, kind, store, settings, pull, anew)
    except UserspaceError as error:
        want.refuse(kind, error)


def _nothing() -> None:
    """cwltool pulls and builds by itself, with our command."""


def _local(want: Want, store: Store) -> None:
    name = want.text("dockerImageId")
    if not has(store, name):
        want.refuse(
            "dockerImageId",
            f"no image {name!r} in the store, and nothing says where it comes from; "
            "add dockerPull, or have it first with cwl-userspace pull, load, import or build",
        )


def _from_file(
    want: Want, kind: str, store: Store, settings: Settings, pull: bool, anew: bool
) -> tuple[Requirement, Fetch]:
    wanted = want.text("dockerImageId")
    here = bool(wanted) and not anew and has(store, wanted)
    try:
        place = place_of(want.text(kind), want.document)
    except UserspaceError as error:
        if not here:
            raise
        _logger.info("%s: the image %s of the store is used", error.message, wanted)
        return _with_id(want, wanted), _nothing
    web = is_web(place)
    name = _name(kind, place if web else digest(place, settings.cache), wanted)
    if web and here and not has(store, name):
        return _with_id(want, wanted), _nothing

    def fetch() -> None:
        try:
            if not pull and not has(store, name):
                want.refuse(kind, f"the image of {place} is not here; leave out --disable-pull")
            afresh = web and anew and pull
            acquire(store, kind, place, name, wanted, _logger.info, afresh, settings.offline)
        except UserspaceError as error:
            want.refuse(kind, error)

    return _with_id(want, name), fetch


def _name(kind: str, *parts: str) -> str:
    """A name that no document uses, and that is another for other parts."""
    told = hashlib.sha256("\0".join((kind, *parts)).encode("utf-8", "surrogateescape"))
    return f"localhost/cwl/{kind.lower()}:{told.hexdigest()[:40]}"


def _with_id(want: Want, name: str) -> Requirement:
    """A copy for cwltool: the lists of requirements are shared by all jobs of a scatter."""
    changed = copy.deepcopy(want.requirement)
    for key in ("dockerLoad", "dockerImport"):
        changed.pop(key, None)
    changed["dockerImageId"] = name
    return changed

"""Have the image of a file in the store: what dockerLoad and dockerImport ask for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence

from cwl_userspace.cwl.places import is_web
from cwl_userspace.errors import ImageError, ImageNotFound, InvalidReference
from cwl_userspace.image.archive import Loadable, loadable
from cwl_userspace.image.offline import from_web
from cwl_userspace.image.tarball import Tarball
from cwl_userspace.oci import Platform
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records
from cwl_userspace.store.images import add
from cwl_userspace.store.lease import lease
from cwl_userspace.store.store import Store
from cwl_userspace.store.workspace import workspace

Say = Callable[[str], None]
_CHUNK = 1 << 20


def has(store: Store, name: str) -> bool:
    """True if the store has an image of that name or id, with its tree."""
    store.check()
    try:
        return store.has(records.find(store, name).chain)
    except (ImageNotFound, InvalidReference):
        return False


def acquire(
    store: Store,
    kind: str,
    place: str,
    name: str,
    wanted: str,
    say: Say,
    anew: bool,
    offline: bool,
) -> None:
    """File the image in a file or behind a URL under *name*, unless it is there and not *anew*.

    *kind* is dockerLoad or dockerImport; *wanted* is what the document calls the image, or
    nothing: it is filed under that, too, and of several in an archive it is the one. Processes
    that want the same at once do it once. Raise UserspaceError with the reason.
    """
    store.prepare()
    with lease(store, f"file-{hashlib.sha256(name.encode()).hexdigest()}"):
        if not anew and has(store, name):
            return
        say(f"{'loading' if kind == 'dockerLoad' else 'importing'} the image of {place}")
        if kind == "dockerLoad":
            _load(store, place, name, wanted, offline)
        else:
            names = [ImageReference.parse(text) for text in (name, wanted) if text]
            tarball = Tarball(_chunks(place, offline), place)
            image = tarball.only_image(Platform.host())
            add(store, image, tarball, names, _quiet, whiteouts=False)


def _load(store: Store, place: str, name: str, wanted: str, offline: bool) -> None:
    with workspace(store) as spool:
        path = place
        if is_web(place):
            path = os.path.join(spool, "download")
            with open(path, "wb") as file:
                for chunk in from_web(place, offline):
                    file.write(chunk)
        entry = _chosen(loadable(path, spool, Platform.host()), place, wanted)
        names = [ImageReference.parse(name)]
        if wanted and not _is_id(entry, wanted):
            names.append(ImageReference.parse(wanted))
        add(store, entry.image, entry.source, names, _quiet)


def _chosen(entries: Sequence[Loadable], place: str, wanted: str) -> Loadable:
    """The image that dockerImageId names, or the only one."""
    if not wanted:
        if len(entries) == 1:
            return entries[0]
        raise ImageError(
            f"{place} holds {len(entries)} images: {_listed(entries)}",
            "say with dockerImageId which one is meant",
        )
    for entry in entries:
        if _is_id(entry, wanted) or ImageReference.parse(wanted) in entry.names:
            return entry
    if len(entries) == 1 and not entries[0].names:
        return entries[0]
    raise ImageNotFound(
        f"{place} holds no image {wanted!r}", f"it holds {_listed(entries)}; mend dockerImageId"
    )


def _is_id(entry: Loadable, wanted: str) -> bool:
    """True if the words are the image's id, or its first twelve digits or more."""
    text = wanted.removeprefix("sha256:")
    return len(text) >= 12 and hashlib.sha256(entry.image.config).hexdigest().startswith(text)


def _listed(entries: Sequence[Loadable]) -> str:
    names = [name.familiar for entry in entries for name in entry.names]
    return ", ".join(names) or "images without a name"


def _chunks(place: str, offline: bool) -> Iterator[bytes]:
    if is_web(place):
        yield from from_web(place, offline)
        return
    with open(place, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _quiet(doing: str) -> None:
    """cwltool's log has one line for an image; nothing is said layer by layer."""

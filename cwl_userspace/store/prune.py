"""Find what nobody needs any more, and remove it: ``plan`` looks, ``carry_out`` acts.

What is in use stays, and so does what is protected. While somebody adds an image nobody can tell
what is his already: then trees and blobs without an image, and images without a name, stay too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import NamedTuple

from cwl_userspace.errors import ImageNotFound
from cwl_userspace.store import records, users
from cwl_userspace.store.check import blobs_of
from cwl_userspace.store.diskuse import disk_use
from cwl_userspace.store.heart import last_sign, now
from cwl_userspace.store.modes import is_of_a_group
from cwl_userspace.store.owner import private_name
from cwl_userspace.store.phases import PRUNE, phase
from cwl_userspace.store.protect import is_protected
from cwl_userspace.store.records import Record
from cwl_userspace.store.remove import FORMS, forget_image, remove_name, remove_tree
from cwl_userspace.store.store import LEASES, Store
from cwl_userspace.store.workspace import leftovers

IMAGE, TREE, BLOB, TEMPORARY, LEASE, BUILD = (
    "image", "tree", "blob", "temporary files", "lease", "build cache",
)  # fmt: skip
Delete = Callable[[str], None]


class Wish(NamedTuple):
    """What may go beside what nobody can find: images that nobody has used for ``older_than``
    seconds, as many of those used least recently as have trees of more than ``keep_size`` bytes
    together, or ``all``.
    """

    older_than: float | None = None
    keep_size: int | None = None
    all: bool = False


class Item(NamedTuple):
    """One thing to remove: its kind, what it is called, and the bytes that it takes on disk."""

    kind: str
    what: str
    size: int
    names: tuple[str, ...] = ()


class Known(NamedTuple):
    """An image with all that decides whether it stays."""

    record: Record
    names: tuple[str, ...]
    kept: str
    used: float


class Plan(NamedTuple):
    """What is to go, and which images stay although the wish was for them to go, and why."""

    items: list[Item]
    kept: dict[str, str]


def plan(store: Store, wish: Wish, needed: Set[str]) -> Plan:
    """What to remove. ``needed`` are ids of images that stay, 64 digits: of containers, of runs.

    What stores beneath have is not looked at.
    """
    store = store.own
    images = _images(store, needed)
    time = now(os.path.join(store.path, LEASES))
    at_work = bool(users.at_work(store))
    going = _chosen(images, wish, time, at_work)
    gone = {image.record.id for image in going}
    staying = [image for image in images if image.record.id not in gone]
    kept = {
        _title(image): image.kept
        for image in staying
        if image.kept and (not image.names or _is_wanted(image, wish, time))
    }
    items = [
        Item(IMAGE, str(image.record.id), _size(store, _documents(image.record)), image.names)
        for image in going
    ]
    items += _trees(store, staying, going, at_work)
    if not at_work:
        items += _blobs(store, staying, going)
    items += _leftovers(store, wish, time)
    return Plan(items, kept)


def carry_out(store: Store, items: Sequence[Item], delete: Delete) -> Iterator[Item]:
    """Remove what was planned, by ``delete`` where it is a directory; give each that has gone.

    What has come into use meanwhile stays, and so does what an image has that was added meanwhile.
    Raise StoreError where the store cannot be written.
    """
    store = store.own
    needed: set[str] | None = None
    with phase(PRUNE):
        for item in items:
            if needed is None and item.kind != IMAGE:  # which come first: what is left stays
                needed = _belonging(store, records.images(store))
            where = f"trees/{item.what}" if item.kind == TREE else item.what
            if where not in (needed or ()) and _remove(store, item, delete):
                yield item


def _belonging(store: Store, images: Iterable[Record]) -> set[str]:
    """The names below the store of all trees, packs and blobs that some images have."""
    return {name for record in images for name in blobs_of(store, record)}


def _remove(store: Store, item: Item, delete: Delete) -> bool:
    if item.kind == TREE:
        return not remove_tree(store, item.what, delete)
    if item.kind == IMAGE:
        return _remove_image(store, item)
    path = os.path.join(store.path, item.what)
    aside = os.path.join(store.path, "tmp", private_name())
    try:
        if not os.path.isdir(path) or os.path.islink(path):
            os.unlink(path)
            return True
        if item.kind == BUILD and users.building(store):
            return False
        os.rename(path, aside)
        delete(aside)
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        if item.kind == TEMPORARY and is_of_a_group(store.path) and not _is_ours(aside):
            return False  # half made by another member, who alone can get into it
        raise store.failure(error, f"remove {item.what}") from None


def _is_ours(path: str) -> bool:
    try:
        return os.lstat(path).st_uid == os.geteuid()
    except OSError:
        return False


def _remove_image(store: Store, item: Item) -> bool:
    """Remove an image and its names, unless it has another name by now."""
    named = {key for key, identifier, _ in _names(store) if identifier == item.what}
    if named - set(item.names):
        return False
    for key in named:
        remove_name(store, key)
    with contextlib.suppress(ImageNotFound):
        forget_image(store, records.by_id(store, item.what.removeprefix("sha256:")))
    return True


def _names(store: Store) -> Iterator[tuple[str, str, bool]]:
    """Every name, the id of its image, and whether it is protected."""
    for key, identifier in records.names(store):
        yield key, identifier, is_protected(store, key)


def _images(store: Store, needed: Set[str]) -> list[Known]:
    """All images of this store, those used least recently first."""
    names: dict[str, list[str]] = {}
    protected = set()
    for key, identifier, kept_by_name in _names(store):
        names.setdefault(identifier, []).append(key)
        if kept_by_name:
            protected.add(identifier)
    using = users.in_use(store)
    found = []
    for record in records.images(store):
        identifier, text = record.id.hex, str(record.id)
        kept = "protected" if text in protected else ""
        if record.chain.hex in using:
            kept = kept or f"in use by {using[record.chain.hex][0].shown()}"
        if identifier in needed:
            kept = kept or "a container was made of it or runs in it"
        used = users.last_use(store, identifier)
        found.append(Known(record, tuple(names.get(text, ())), kept, used))
    return sorted(found, key=lambda image: image.used)


def _is_wanted(image: Known, wish: Wish, time: float) -> bool:
    """True for an image with a name that the wish names, but for its room."""
    old = wish.older_than is not None and time - image.used > wish.older_than
    return wish.all or old or wish.keep_size is not None


def _chosen(images: Sequence[Known], wish: Wish, time: float, at_work: bool) -> list[Known]:
    """Which images go."""
    going: list[Known] = []
    staying: list[Known] = []
    old = wish._replace(keep_size=None)
    for image in images:
        wanted = _is_wanted(image, old, time) if image.names else not at_work
        (going if wanted and not image.kept else staying).append(image)
    if wish.keep_size is not None:
        for image in [image for image in staying if not image.kept]:
            if _room(staying) <= wish.keep_size:
                break
            staying.remove(image)
            going.append(image)
    return going


def _room(images: Sequence[Known]) -> int:
    """The bytes of the trees of images; those that share one have it once."""
    return sum({image.record.chain: image.record.size for image in images}.values())


def _trees(
    store: Store, staying: Sequence[Known], going: Sequence[Known], at_work: bool
) -> Iterator[Item]:
    """Trees that no image has that stays."""
    using = users.in_use(store)
    wanted = {image.record.chain.hex for image in staying} | set(using)
    left = {image.record.chain.hex for image in going}
    for chain in sorted({chain for form in FORMS for chain in _listing(store, form)}):
        if chain not in wanted and (chain in left or not at_work):
            yield Item(TREE, chain, _size(store, [f"{form}/{chain}" for form in FORMS]))


def _size(store: Store, names: Sequence[str]) -> int:
    """What some files and trees of the store take on disk."""
    return sum(disk_use(os.path.join(store.path, name)) for name in names)


def _blobs(store: Store, staying: Sequence[Known], going: Sequence[Known]) -> Iterator[Item]:
    """Blobs that no image has; those of images that go, go with them."""
    wanted = _belonging(store, (image.record for image in staying))
    wanted.update(path for image in going for path in _documents(image.record))
    for name in _listing(store, "blobs/sha256"):
        path = f"blobs/sha256/{name}"
        if path not in wanted:
            yield Item(BLOB, path, disk_use(os.path.join(store.path, path)))


def _documents(record: Record) -> list[str]:
    """Where in the store stands what is known of an image."""
    paths = [f"images/{record.id.hex}.json", f"blobs/sha256/{record.id.hex}"]
    if record.manifest:
        paths.append(f"blobs/sha256/{record.manifest.removeprefix('sha256:')}")
    return paths


def _leftovers(store: Store, wish: Wish, time: float) -> Iterator[Item]:
    """What the dead have left, notes of old failures, and builds' steps."""
    for path in leftovers(store, time):
        yield Item(TEMPORARY, os.path.relpath(path, store.path), disk_use(path))
    for path in users.stale(store):
        yield Item(LEASE, os.path.relpath(path, store.path), disk_use(path))
    for name in _listing(store, "locks"):
        yield Item(LEASE, f"locks/{name}", disk_use(os.path.join(store.path, "locks", name)))
    if not users.building(store):
        yield from _build_cache(store, wish, time)


def _build_cache(store: Store, wish: Wish, time: float) -> Iterator[Item]:
    """All of it, or what no build has made or looked at for as long as images may be unused."""
    if not _listing(store, "build"):
        return
    if wish.older_than is None:
        yield Item(BUILD, "build", disk_use(os.path.join(store.path, "build")))
        return
    for place in ("steps", "layers", "caches"):
        for name in _listing(store, f"build/{place}"):
            path = os.path.join(store.path, "build", place, name)
            with contextlib.suppress(FileNotFoundError):
                if time - last_sign(path) > wish.older_than:
                    yield Item(BUILD, f"build/{place}/{name}", disk_use(path))


def _listing(store: Store, name: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(store.path, name)))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise store.failure(error, f"list {name}") from None


def _title(image: Known) -> str:
    return image.names[0] if image.names else str(image.record.id)

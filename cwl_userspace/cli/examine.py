"""What ``verify`` looks at, and what it finds."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from cwl_userspace import asroot
from cwl_userspace.digest import Digest
from cwl_userspace.errors import ImageError, ImageNotFound, InvalidReference, StoreError
from cwl_userspace.image.contents import Node
from cwl_userspace.oci import chain_id
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import check, records
from cwl_userspace.store.check import Named, Problem
from cwl_userspace.store.compare import ADDITIONAL, CHANGED, MISSING, Compared, closed, compare
from cwl_userspace.store.modes import is_of_a_group
from cwl_userspace.store.records import Record
from cwl_userspace.store.repair import read_contents
from cwl_userspace.store.store import Store


@dataclass(frozen=True)
class Scope:
    """Which images to look at: their ids, and the files of their names; None for all there are."""

    images: frozenset[str] | None = None
    files: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Looked:
    """What was found of one tree; differences are kind, name and how, as text."""

    recorded: bool
    differences: Sequence[tuple[str, str, str]] = ()
    files: int = 0
    size: int = 0
    unread: Sequence[str] = ()

    def counts(self) -> list[tuple[str, int]]:
        """How many differences there are of each kind."""
        kinds = [kind for kind, _, _ in self.differences]
        return [(k, kinds.count(k)) for k in (MISSING, ADDITIONAL, CHANGED) if k in kinds]


@dataclass(frozen=True)
class Seen:
    """An image that was looked at."""

    record: Record
    names: tuple[str, ...]

    @property
    def chain(self) -> str:
        """The name of its tree."""
        return self.record.chain.hex

    @property
    def label(self) -> str:
        """How it is called: by its names, and the beginning of its id."""
        named = ", ".join(ImageReference.parse(name).familiar for name in self.names)
        return f"{named or '<none>'} ({self.record.id.hex[:12]})"


@dataclass
class Examined:
    """All that was found."""

    images: list[Seen] = field(default_factory=list)
    names: list[Named] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    trees: dict[str, Looked] = field(default_factory=dict)
    loose: list[str] = field(default_factory=list)
    blob_size: int = 0

    @property
    def wrong(self) -> bool:
        """True if anything is not as it should be."""
        return bool(self.problems) or any(tree.differences for tree in self.trees.values())

    @property
    def unrecorded(self) -> list[Seen]:
        """Images of whose trees nothing is recorded."""
        return [
            i for i in self.images if i.chain in self.trees and not self.trees[i.chain].recorded
        ]

    @property
    def files(self) -> int:
        """How many files of trees were looked at."""
        return sum(tree.files for tree in self.trees.values())

    @property
    def size(self) -> int:
        """How many bytes were read."""
        return self.blob_size + sum(tree.size for tree in self.trees.values())


def scope_of(store: Store, images: Sequence[str]) -> Scope:
    """What these names and ids mean, though what the store says of them may be damaged.

    Raise ImageNotFound for what the store has nothing of.
    """
    if not images:
        return Scope()
    found: set[str] = set()
    files: set[str] = set()
    for text in images:
        try:
            file = records.file_name(records.key_of(ImageReference.parse(text)))
        except InvalidReference:
            file = ""
        if file and os.path.lexists(os.path.join(store.path, "names", file)):
            files.add(file)
            found.update(n.image for n in check.check_names(store, []) if _file(n) == file)
            continue
        wanted = text.removeprefix("sha256:")
        matches = [i for i in records.identifiers(store.own) if i.startswith(wanted)]
        if len(matches) != 1:
            raise _unknown(store, text)
        found.update(matches)
    return Scope(frozenset(found), frozenset(files))


def _unknown(store: Store, text: str) -> ImageError:
    try:
        records.find(store, text)
    except ImageError as error:
        error.exit_code = 1
        return error
    return ImageNotFound(f"no image {text} in the store", "see cwl-userspace images")


def examine(store: Store, scope: Scope, content: bool) -> Examined:
    """Look at images and their trees; the whole store's other files only if all are looked at."""
    found = Examined()
    found.names = list(check.check_names(store, found.problems))
    everything = scope.images is None
    if not everything:
        found.problems = [p for p in found.problems if p.where.partition("/")[2] in scope.files]
    known: set[str] = set()
    for identifier in records.identifiers(store.own):
        if scope.images is not None and identifier not in scope.images:
            continue
        record = check.check_image(store, identifier, found.problems)
        known.add(f"blobs/sha256/{identifier}")
        if record is None:
            continue
        named = tuple(name.name for name in found.names if name.image == identifier)
        found.images.append(Seen(record, named))
        known |= check.blobs_of(store, record)
        found.blob_size += check.check_layers(store, record, found.problems)
        if record.chain.hex not in found.trees:
            found.blob_size += check.check_pack(store, record, found.problems)
            looked = _tree(store, record, content, found.problems)
            if looked is not None:
                found.trees[record.chain.hex] = looked
    if everything:
        found.loose = check.check_strays(store, known, found.problems)
    return found


def _tree(store: Store, record: Record, content: bool, problems: list[Problem]) -> Looked | None:
    """Look at a tree; what keeps from it is a problem, and then there is nothing to say of it."""
    directory = f"trees/{record.chain.hex}"
    where = f"{directory}/rootfs"
    if not os.path.isdir(os.path.join(store.path, where)):
        if not store.has(record.chain):
            problems.append(Problem(where, "it is not there", record.id.hex))
        return None
    _facts(store, record, problems)
    try:
        root = read_contents(store, record.chain)
    except FileNotFoundError:
        return Looked(recorded=False)
    except StoreError as error:
        problems.append(Problem(directory, error.message, record.id.hex))
        return None
    try:
        opened = is_of_a_group(store.path)
        return _compare(os.path.join(store.path, where), root, content, opened)
    except OSError as error:
        what = f"it cannot be looked at: {error.strerror}: {error.filename!r}"
        problems.append(Problem(where, what, record.id.hex))
        return None


def _compare(rootfs: str, root: Node, content: bool, opened: bool) -> Looked:
    def work() -> list[str]:
        found = compare(rootfs, root, content, opened)
        return [json.dumps(_plain(found))]

    answer = asroot.reading(work) if content and closed(root) else work()
    plain = json.loads(answer[0])
    return Looked(True, [tuple(d) for d in plain[0]], *plain[1:])


def _plain(found: Compared) -> tuple[object, ...]:
    """What JSON can hold of a comparison."""
    differences = [(kind, os.fsdecode(name), how) for kind, name, how in found.differences]
    return differences, found.files, found.size, [os.fsdecode(name) for name in found.unread]


def _facts(store: Store, record: Record, problems: list[Problem]) -> None:
    """tree.json must be about the layers that the tree's name is made of."""
    where = f"trees/{record.chain.hex}/tree.json"
    try:
        with open(os.path.join(store.path, where), "rb") as file:
            stated = json.loads(file.read())
        same = chain_id([Digest.parse(d) for d in stated["diff_ids"]]) == record.chain
        what = "" if same else "it is about other layers"
    except (OSError, ValueError, KeyError, TypeError, ImageError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not what it should be"
        what = str(reason)
    if what:
        problems.append(Problem(where, what, record.id.hex))


def _file(named: Named) -> str:
    return records.file_name(named.name)

"""Make an image of the store whole again, from what is here or by fetching it anew.

What is fetched goes into a store of its own below ``tmp`` first, and what is there takes the place
of what is damaged only when all of it is verified: nobody meets a half, and nothing that is damaged
is built upon.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ImageError, StoreError, UserspaceError
from cwl_userspace.image import contents
from cwl_userspace.image.source import Source
from cwl_userspace.oci import (
    DOCUMENT_LIMIT,
    Manifest,
    Platform,
    chain_id,
    diff_ids_of,
    parse_document,
)
from cwl_userspace.reference import ImageReference
from cwl_userspace.store.flatten import Report
from cwl_userspace.store.images import add
from cwl_userspace.store.inuse import GONE
from cwl_userspace.store.lease import lease
from cwl_userspace.store.modes import is_of_a_group, open_directory
from cwl_userspace.store.records import Record
from cwl_userspace.store.store import CONTENTS, Store
from cwl_userspace.store.users import in_use
from cwl_userspace.store.workspace import workspace

# How long to wait for another process that removes or replaces the same tree.
_PATIENCE = 30.0


class Fetched:
    """An image that was fetched anew, in a store of its own."""

    def __init__(self, store: Store, aside: Store, record: Record) -> None:
        self._store = store
        self._aside = aside
        self.record = record

    def contents(self) -> contents.Node:
        """What its tree holds."""
        return read_contents(self._aside, self.record.chain)

    def take(self, with_tree: bool) -> None:
        """Put it, or its documents alone, in the place of what the store has.

        The old tree is removed; raise StoreError if it is in use, or the store cannot be written.
        """
        try:
            if with_tree:
                self._take_tree()
            blobs = os.path.join(self._aside.path, "blobs", "sha256")
            for name in os.listdir(blobs):
                os.replace(os.path.join(blobs, name), self._place(f"blobs/sha256/{name}"))
            name = f"images/{self.record.id.hex}.json"
            os.replace(os.path.join(self._aside.path, name), self._place(name))
        except OSError as error:
            raise self._store.failure(error, "replace an image") from None

    def _take_tree(self) -> None:
        chain = self.record.chain.hex
        mine = self._place(f"trees/{chain}")
        # Whoever begins to use the tree now sees this lease, and waits until it is there again.
        with lease(self._store, f"{GONE}-{chain}", _PATIENCE):
            users = in_use(self._store).get(chain, [])
            if users:
                raise StoreError(f"it is in use by {users[0].shown()}", "try again after that")
            if os.path.lexists(mine):
                os.rename(mine, os.path.join(self._aside.path, "damaged"))
            os.rename(os.path.join(self._aside.path, "trees", chain), mine)

    def keep_contents(self) -> None:
        """Take over what its tree holds as the record of the tree that is here."""
        chain = self.record.chain
        path = os.path.join(os.path.dirname(self._aside.tree(chain)), CONTENTS)
        with open(path, "rb") as file:
            self._store.write_file(contents_name(chain), file.read())

    def _place(self, name: str) -> str:
        return os.path.join(self._store.path, name)


@contextlib.contextmanager
def fetched(
    store: Store, reference: ImageReference, source: Source, platform: Platform, report: Report
) -> Iterator[Fetched]:
    """Fetch an image by its digest from one source; it is gone again after, unless taken.

    Its layers are kept, too, if the store keeps those.

    Raise ImageError where the source does not have it or has another.
    """
    with workspace(store) as private:
        aside = Store(os.path.join(private, "store"))
        os.mkdir(aside.path, 0o755)
        if is_of_a_group(store.path):
            open_directory(aside.path)
        aside.keep_blobs = store.keep_blobs
        image = source.image(reference, platform)
        if reference.digest is not None and image.manifest_digest != reference.digest:
            raise ImageError(
                f"{source.label} gave {image.manifest_digest} for {reference.digest}",
                "expected the manifest of one image",
            )
        yield Fetched(store, aside, add(aside, image, source, [], report))


def rebuild_record(store: Store, identifier: str) -> bool:
    """Write the record of an image from its configuration and manifest; False if these lack."""
    raw = _read(store, f"blobs/sha256/{identifier}")
    if raw is None or hashlib.sha256(raw).hexdigest() != identifier:
        return False
    try:
        chain = chain_id(list(diff_ids_of(raw, "the image configuration")))
        facts = json.loads(_read(store, f"trees/{chain.hex}/tree.json") or b"{}")
        size = int(facts["bytes"])
    except (ImageError, ValueError, KeyError, TypeError):
        return False
    document = {
        "id": f"sha256:{identifier}",
        "chain": str(chain),
        "manifest": _manifest_of(store, identifier),
        "size": size,
        "created": os.stat(os.path.join(store.path, "blobs/sha256", identifier)).st_mtime,
        "config": json.loads(raw),
    }
    store.write_file(f"images/{identifier}.json", Record(document).to_json())
    return True


def origins(record: Record, names: Iterable[str]) -> list[ImageReference]:
    """How an image with these names can be asked for again: by the digest of its manifest."""
    digest = Digest.parse(record.manifest)
    parsed = map(ImageReference.parse, names)
    found = {one.name: ImageReference(one.registry, one.repository, None, digest) for one in parsed}
    return list(found.values())


def platform_of(record: Record) -> Platform:
    """The platform that an image is for, as its configuration says."""
    document = record.document
    host = Platform.host()
    return Platform(
        str(document.get("os") or host.os),
        str(document.get("architecture") or host.architecture),
        str(document.get("variant") or ""),
    )


def read_contents(store: Store, chain: Digest) -> contents.Node:
    """What a tree should hold; raise FileNotFoundError if unknown, StoreError if damaged."""
    name = contents_name(chain)
    with open(os.path.join(store.path, name), "rb") as file:
        return contents.read(file.read(), name)


def contents_name(chain: Digest) -> str:
    """Where the record of a tree is, below the store."""
    return f"trees/{chain.hex}/{CONTENTS}"


def _manifest_of(store: Store, identifier: str) -> str:
    """The digest of a manifest here that has a configuration; empty if there is none."""
    for name in sorted(os.listdir(os.path.join(store.path, "blobs", "sha256"))):
        where = f"blobs/sha256/{name}"
        if os.path.getsize(os.path.join(store.path, where)) > DOCUMENT_LIMIT:
            continue
        raw = _read(store, where) or b""
        try:
            parsed = parse_document(raw, where)
        except UserspaceError:
            continue
        same = isinstance(parsed, Manifest) and parsed.config.digest == Digest(identifier)
        if same and hashlib.sha256(raw).hexdigest() == name:
            return f"sha256:{name}"
    return ""


def _read(store: Store, name: str) -> bytes | None:
    try:
        with open(os.path.join(store.path, name), "rb") as file:
            return file.read()
    except OSError:
        return None

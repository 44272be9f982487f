"""Layers that are kept as they were fetched, where the settings ask for it.

They save the network when another image has them too, or when a tree was removed and is wanted
again, at the price of a third of the disk as much once more.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from io import FileIO

from cwl_userspace.digest import Digest
from cwl_userspace.oci import Descriptor
from cwl_userspace.store.modes import for_the_owner, is_of_a_group
from cwl_userspace.store.store import Store, private_name

_CHUNK = 1 << 20


def kept(store: Store, blob: Descriptor) -> Iterator[bytes] | None:
    """The bytes of a blob, not verified, if the store has one of that digest and size."""
    if blob.digest is None or blob.size is None:
        return None
    try:
        file = open(_path(store, blob.digest), "rb", buffering=0)  # noqa: SIM115
    except OSError:
        return None
    if os.fstat(file.fileno()).st_size == blob.size:
        return _read(file)
    file.close()
    return None


def keeping(store: Store, digest: Digest, verified: Iterable[bytes]) -> Iterator[bytes]:
    """The same chunks, written into the store as well; they get their name when all went well.

    ``verified`` has to raise at its end if it is not what it should be.
    """
    aside = os.path.join(store.path, "tmp", f"{private_name()}.file")
    try:
        with open(aside, "xb", buffering=0, opener=for_the_owner) as file:
            if is_of_a_group(store.path):
                os.fchmod(file.fileno(), 0o664)
            for chunk in verified:
                written = file.write(chunk)
                while written < len(chunk):
                    written += file.write(chunk[written:])
                yield chunk
        os.replace(aside, _path(store, digest))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)


def drop_damaged(store: Store, blobs: Iterable[Descriptor]) -> bool:
    """Remove those of some kept blobs whose bytes are not what their names say; True if any is."""
    damaged = False
    for blob in blobs:
        chunks = kept(store, blob)
        if chunks is None or blob.digest is None:
            continue
        found = hashlib.sha256()
        for chunk in chunks:
            found.update(chunk)
        if found.hexdigest() != blob.digest.hex:
            damaged = True
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_path(store, blob.digest))
    return damaged


def _path(store: Store, digest: Digest) -> str:
    return os.path.join(store.path, "blobs", "sha256", digest.hex)


def _read(file: FileIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk

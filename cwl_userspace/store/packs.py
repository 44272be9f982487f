"""Packs: a stored tree as one file, since a parallel file system is slow with many small ones.

``packs/CHAIN/`` of a store holds, published by one rename like everything else,

    tree.tar.zst     the tree as a tar (image/treetar.py), compressed with zstd; where there is
                     no zstandard ``tree.tar``, not compressed
    pack.json        which of the two it is, its digest and size, and what tree.json says
    contents.zst     what is recorded of the tree's files, if anything is, as beside the tree

A tree is unpacked from it by the code that unpacks layers, and is what it was but for pipes. None
is synced to disk: the digest is held against every byte that is read, so what a crash may have
damaged is found by whoever reads it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ContentMismatch, ImageError, StoreError
from cwl_userspace.image import tar
from cwl_userspace.image.ahead import Ahead
from cwl_userspace.image.confine import remove_tree
from cwl_userspace.image.layers import Tree
from cwl_userspace.image.stream import Checked, decompressed
from cwl_userspace.image.treetar import tree_bytes
from cwl_userspace.store.modes import for_the_owner
from cwl_userspace.store.store import CONTENTS, Store, private_name
from cwl_userspace.store.workspace import workspace

_RECORD = "pack.json"
_LEVEL = 3
_CHUNK = 1 << 20


class Pack(NamedTuple):
    """One pack: its file, what that must be, and what is known of the tree in it."""

    file: str
    digest: Digest
    size: int
    tree: dict[str, Any]


class PackDamaged(StoreError):
    """No pack of a tree is what it was when it was made, and there is no tree either."""


# Does something with all rights to the files of a tree, whatever their modes (see asroot.py).
Work = Callable[[Callable[[], list[str]]], list[str]]


def read(directory: str) -> Pack:
    """What a pack's record says; raise StoreError where it cannot be read or says nothing."""
    path = os.path.join(directory, _RECORD)
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read())
        name = os.path.basename(str(found["file"]))
        digest = Digest.parse(found["digest"])
        return Pack(os.path.join(directory, name), digest, int(found["size"]), dict(found["tree"]))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}", "see the log") from None
    except (ValueError, KeyError, TypeError, ContentMismatch):
        raise StoreError(f"{path} is damaged", "see the log") from None


def make(store: Store, chain: Digest, directory: str, work: Work) -> None:
    """Publish a pack of the tree whose ``rootfs`` and ``tree.json`` are in a directory.

    Who comes second throws his own away. Raise StoreError or OSError; then there is none.
    """
    store.prepare()
    with open(os.path.join(directory, "tree.json"), "rb") as file:
        facts = json.loads(file.read())
    with workspace(store) as private:
        rootfs = os.path.join(directory, "rootfs")
        copy_beside(directory, private)
        name, digest, size = work(lambda: _write(rootfs, private))
        stated = {"file": name, "digest": digest, "size": int(size), "tree": facts}
        store.write_file(
            os.path.relpath(os.path.join(private, _RECORD), store.path), json.dumps(stated)
        )
        store.publish(private, f"packs/{chain.hex}")
    store.trust(os.path.join(store.path, "packs", chain.hex), True)


def _write(rootfs: str, directory: str) -> list[str]:
    """Write the file of a pack; its name, digest and size."""
    name, chunks = _compressed(tree_bytes(rootfs, exact=True))
    checked = Checked(chunks, None, None, f"the pack of {rootfs}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(os.path.join(directory, name), flags, 0o644), "wb") as file:
        file.writelines(checked)
    return [name, str(checked.digest), str(checked.length)]


def _compressed(chunks: Iterator[bytes]) -> tuple[str, Iterator[bytes]]:
    try:
        import zstandard
    except ImportError:
        return "tree.tar", chunks
    compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj()

    def frame() -> Iterator[bytes]:
        for chunk in chunks:
            yield compressor.compress(chunk)
        yield compressor.flush()

    return "tree.tar.zst", frame()


def unpack(store: Store, chain: Digest, directory: str, note: Callable[[str], object]) -> None:
    """Make ``rootfs`` and ``tree.json`` in a directory from the first pack that is whole.

    Of a pack that is not ``note`` says why; it is used no more, and removed from the own store.
    Raise PackDamaged if there is no other, OSError where the directory cannot be written.
    """
    problems = []
    for place in store.packs(chain):
        rootfs = os.path.join(directory, "rootfs")
        try:
            pack = read(place)
            _unpack(pack, rootfs)
            facts = os.path.join(directory, "tree.json")
            with open(facts, "w", encoding="utf-8", opener=for_the_owner) as file:
                json.dump(pack.tree, file)
            copy_beside(place, directory)
            return
        except (ImageError, StoreError) as error:
            problems.append(error.message)
            note(f"the pack {place} is not used: {error.message}")
            remove_tree(rootfs)
            store.trust(place, False)
            _discard(store, place)
    raise PackDamaged("; ".join(problems) or "there is no pack", "pull the image again")


def copy_beside(source: str, target: str) -> None:
    """Take along what is known of a tree beside tree.json."""
    try:
        with open(os.path.join(source, CONTENTS), "rb") as known:
            raw = known.read()
    except FileNotFoundError:
        return
    with open(os.path.join(target, CONTENTS), "wb", opener=for_the_owner) as copy:
        copy.write(raw)


def _unpack(pack: Pack, rootfs: str) -> None:
    what = f"the pack {pack.file}"
    os.mkdir(rootfs, 0o755)
    tree = Tree(rootfs)
    packed = Ahead(Checked(_chunks(pack.file), pack.digest, pack.size, what))
    plain = Ahead(decompressed(packed, what))
    try:
        tree.apply(tar.Bytes(plain, what), False)
        for _ in packed:  # what follows the last frame is a part of what has the digest
            pass
        tree.finish()
    except BaseException:
        tree.close()
        raise
    finally:
        plain.stop()
        for step in (packed, plain):
            step.close()


def _chunks(path: str) -> Iterator[bytes]:
    """The bytes of a pack; an error while it is read is the pack's, and not the tree's."""
    try:
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}", "see the log") from None


def _discard(store: Store, place: str) -> None:
    """Remove a damaged pack, so that the next who wants one makes it; not from stores beneath."""
    if not place.startswith(os.path.join(store.path, "")):
        return
    aside = os.path.join(store.path, "tmp", private_name())
    try:
        os.rename(place, aside)
        remove_tree(aside)
    except OSError:  # the store is not ours to write; it stays as it is, and is not used
        pass


def facts(store: Store, chain: Digest) -> dict[str, Any]:
    """What is known of a tree that is here or beneath, in either form; nothing if it is neither, or
    if what was written down is damaged, which ``verify`` tells.
    """
    try:
        with open(os.path.join(os.path.dirname(store.tree(chain)), "tree.json"), "rb") as file:
            return dict(json.loads(file.read()))
    except (FileNotFoundError, ValueError, TypeError):
        for place in store.packs(chain):
            with contextlib.suppress(StoreError):
                return read(place).tree
        return {}


def number(store: Store, chain: Digest, name: str) -> int:
    """One of these facts that is a number; 0 where it is not known."""
    found = facts(store, chain).get(name)
    return found if isinstance(found, int) else 0

"""An image as one file: an OCI archive whose only layer is the whole tree, compressed.

So skopeo, ``load`` and apptainer itself can read it, and it is unpacked by the code that unpacks
every image, with its checks. The same tree and configuration give the same bytes. It is written
from its beginning to its end and named when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator

import zstandard

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.output import Write, write_archive
from cwl_userspace.cli.progress import Progress
from cwl_userspace.cli.rights import with_rights
from cwl_userspace.digest import Digest
from cwl_userspace.errors import ImageError
from cwl_userspace.image import squashfs
from cwl_userspace.image.archive import loadable
from cwl_userspace.image.layout import MARKER, Layout
from cwl_userspace.image.saving import TarSink, config_of_one_layer, file_chunks
from cwl_userspace.image.source import Source
from cwl_userspace.image.stream import Checked
from cwl_userspace.image.tarball import Tarball
from cwl_userspace.image.treetar import tree_bytes
from cwl_userspace.oci import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Image, Platform
from cwl_userspace.shims import singularity_notes as notes
from cwl_userspace.shims.singularity_head import Head
from cwl_userspace.shims.singularity_sif import squashfs_at
from cwl_userspace.store.images import add
from cwl_userspace.store.lease import lease
from cwl_userspace.store.records import Record
from cwl_userspace.store.workspace import workspace

_LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
_LEVEL = 3


def write(context: Context, record: Record, target: str) -> None:
    """Write an image to a file, which is there when it is whole; raise OSError or StoreError.

    What the file holds is noted, so that this host runs it without unpacking it. Of several that
    write one image to one file at once, as the jobs of a workflow do, one packs it.
    """
    context.store.prepare()
    absent = not os.path.lexists(target)
    name = hashlib.sha256(os.fsencode(os.path.abspath(target))).hexdigest()
    with lease(context.store, f"written-{name}"):
        if not (absent and holds(context, record, target)):
            _pack(context, record, target)


def holds(context: Context, record: Record, path: str) -> bool:
    """True if a file was written here with this image, and has not changed since."""
    try:
        found = notes.find(context, notes.of_file(os.stat(path)))
    except OSError:
        return False
    return found is not None and found.chain == record.chain and _meant(found) == _meant(record)


def _meant(record: Record) -> dict[str, object]:
    """What an image is to be: all but its layers, which are one in a file."""
    return {k: v for k, v in record.document.items() if k not in ("history", "rootfs")}


def _pack(context: Context, record: Record, target: str) -> None:
    rootfs = context.stored_tree(record)
    with workspace(context.store) as private:
        said = os.path.join(private, "config")
        with_rights(lambda: _write(record.document, rootfs, private, said, target))
        with open(said, "rb") as file:
            config = file.read()
    identifier = Digest(hashlib.sha256(config).hexdigest())
    document = json.loads(record.to_json())
    same = Record({**document, "id": str(identifier), "config": json.loads(config)})
    notes.keep(context, notes.of_image(identifier), same)
    notes.keep(context, notes.of_file(os.stat(target)), same)


def _write(document: dict[str, object], rootfs: str, private: str, said: str, target: str) -> None:
    """Done by whoever can read the whole tree; the configuration is left in the file ``said``."""
    packed = os.path.join(private, "layer")
    plain = Checked(tree_bytes(rootfs), None, None, f"the tree {rootfs}")
    whole = Checked(_compressed(plain), None, None, "the layer")
    with open(packed, "xb") as file:
        file.writelines(whole)
    config = config_of_one_layer(document, str(plain.digest))
    with open(said, "xb") as file:
        file.write(config)
    descriptors = [(OCI_CONFIG, _digest(config), len(config))]
    descriptors.append((_LAYER, str(whole.digest), whole.length))
    manifest = _manifest(*descriptors)
    platform = {key: document[key] for key in ("architecture", "os", "variant") if key in document}
    entry = {"mediaType": OCI_MANIFEST, "digest": _digest(manifest), "size": len(manifest)}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX,
             "manifests": [{**entry, "platform": platform}]}  # fmt: skip

    def archive(out: Write) -> None:
        sink = TarSink(out)
        sink.document(MARKER, b'{"imageLayoutVersion": "1.0.0"}')
        sink.document("index.json", _json(index))
        sink.document(_blob(manifest), manifest)
        sink.document(_blob(config), config)
        name = f"blobs/sha256/{whole.digest.hex}"
        sink.put(name, whole.length, file_chunks(packed))
        sink.finish()

    write_archive("build", target, archive)


def _compressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


def _manifest(*parts: tuple[str, str, int]) -> bytes:
    config, layer = (
        {"mediaType": kind, "digest": digest, "size": size} for kind, digest, size in parts
    )
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}
    return _json(document)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob(content: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def read(context: Context, path: str) -> Record:
    """The image in a file, unpacked into the store if that has not got it.

    Files of ours, archives of docker save, OCI archives, and singularity's own where squashfs can
    be read. Raise ImageError for anything else.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}", "name an image") from None
    try:
        note = notes.of_file(os.fstat(file))
        found = notes.find(context, note)
        if found is not None:
            return found
        offset = squashfs_at(path, file)
    finally:
        os.close(file)
    record = _archive(context, path) if offset is None else _squashfs(context, path, offset)
    notes.keep(context, note, record)
    return record


def _archive(context: Context, path: str) -> Record:
    found = _by_its_head(context, path)
    if found is not None:
        return found
    context.store.prepare()
    with workspace(context.store) as spool:
        images = loadable(path, spool, Platform.host(), context.store.unpacked_limit)
        if len(images) != 1:
            raise ImageError(f"{path} has {len(images)} images", "expected an archive of one")
        return stored_image(context, path, images[0].image, images[0].source)


def _by_its_head(context: Context, path: str) -> Record | None:
    """The image of a file of ours whose tree the store has: its documents come first in it.

    They are verified, each by the one before. None for any other file.
    """
    try:
        layout = Layout(Head(path))
        (entry,) = layout.entries()
        image = layout.resolve(entry, Platform.host(), path)
    except (ImageError, ValueError):
        return None
    return notes.known(context, Digest(hashlib.sha256(image.config).hexdigest()))


def stored_image(context: Context, what: str, image: Image, source: Source) -> Record:
    """The image in the store that an archive or a layout has."""
    known = notes.known(context, Digest(hashlib.sha256(image.config).hexdigest()))
    if known is not None:
        return known
    with Progress(what, context.log) as progress:
        return add(context.store, image, source, (), progress)


def _squashfs(context: Context, path: str, offset: int) -> Record:
    context.store.prepare()
    with workspace(context.store) as private:
        said = os.path.join(private, "image")

        def work() -> None:
            tree = os.path.join(private, "unpacked")
            squashfs.unpack(path, tree, context.environ, offset)
            record = of_tree(context, path, tree)
            with open(said, "x", encoding="utf-8") as file:
                file.write(record.to_json())

        with_rights(work)
        with open(said, "rb") as file:
            return Record(json.loads(file.read()), context.store.path)


def of_tree(context: Context, what: str, tree: str) -> Record:
    """The image of a directory with a root file system, in the store."""
    tarball = Tarball(tree_bytes(tree), what)
    image = tarball.only_image(Platform.host())
    with Progress(what, context.log) as progress:
        return add(context.store, image, tarball, (), progress, whiteouts=False)

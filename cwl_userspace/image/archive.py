"""Archives that hold whole images: what ``docker save`` writes, and OCI layouts in a tar.

The format of ``docker save`` is that of moby's image/tarexport; since Docker 25 one archive is
both, and then its ``manifest.json`` counts, because it has the names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ContentMismatch, ImageError
from cwl_userspace.image.files import Directory, Files, TarFile, open_archive, read
from cwl_userspace.image.layout import MARKER, Layout, name_of
from cwl_userspace.image.source import Source
from cwl_userspace.oci import Descriptor, Image, Layer, Platform, diff_ids_of, load_json
from cwl_userspace.reference import ImageReference

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Loadable:
    """An image in an archive, with the names that the archive gives it."""

    names: tuple[ImageReference, ...]
    image: Image
    source: Source


def loadable(path: str, spool: str, platform: Platform, limit: int = 0) -> list[Loadable]:
    """The images in an archive, or in the directory of an OCI layout.

    Of images for several platforms only those that run here are given. ``spool`` is a
    directory for what cannot be read in place, ``limit`` how many bytes that may be (0: any).
    Raise ImageError for anything else.
    """
    if path != "-" and os.path.isdir(path):
        return _from_layout(Directory(path), platform)
    file = open_archive(path, spool, limit)
    label = "standard input" if path == "-" else path
    files = TarFile(file, label)
    if _MANIFEST in files:
        return list(_from_docker(files, label))
    if MARKER in files:
        return _from_layout(files, platform)
    raise ImageError(
        f"{label} holds no image",
        "expected what docker save writes, or an OCI layout; "
        "for a root file system use cwl-userspace import",
    )


def _from_layout(files: Files, platform: Platform) -> list[Loadable]:
    layout = Layout(files)
    entries = layout.entries()
    fitting = [e for e in entries if e.platform is None or platform.accepts(e.platform)]
    found = []
    for entry in fitting:
        name = name_of(entry)
        names = (ImageReference.parse(name),) if name else ()
        found.append(Loadable(names, layout.resolve(entry, platform, name or layout.label), layout))
    if not found:
        offered = ", ".join(sorted({str(e.platform) for e in entries})) or "nothing"
        raise ImageError(f"{layout.label} has no image for {platform}", f"it offers {offered}")
    return found


def _from_docker(files: TarFile, label: str) -> Iterator[Loadable]:
    listed = load_json(read(files, _MANIFEST), f"{_MANIFEST} in {label}")
    if not isinstance(listed, list) or not listed:
        raise ImageError(f"{_MANIFEST} in {label} lists no image", "the archive is damaged")
    for entry in listed:
        yield _docker_image(files, entry, label)


def _docker_image(files: TarFile, entry: Any, label: str) -> Loadable:
    try:
        config_name, layer_names = str(entry["Config"]), [str(n) for n in entry["Layers"] or ()]
        tags = [str(tag) for tag in entry.get("RepoTags") or ()]
    except (TypeError, KeyError, AttributeError):
        raise ImageError(
            f"{_MANIFEST} in {label} is {entry!r:.80}", "the archive is damaged"
        ) from None
    config = read(files, config_name)
    diff_ids = list(diff_ids_of(config, label))
    if len(diff_ids) != len(layer_names):
        raise ContentMismatch(
            f"{label} has {len(layer_names)} layers but {len(diff_ids)} DiffIDs",
            "the archive is damaged",
        )
    source = DockerArchive(files, dict(zip(diff_ids, layer_names, strict=True)))
    image = Image(
        config=config,
        layers=tuple(Layer(Descriptor("", None, None), diff_id) for diff_id in diff_ids),
    )
    return Loadable(tuple(map(ImageReference.parse, tags)), image, source)


class DockerArchive:
    """The layers of one image in an archive of ``docker save``."""

    def __init__(self, files: TarFile, names: dict[Digest, str]) -> None:
        self._files = files
        self._names = names

    @property
    def label(self) -> str:
        """How messages name this source."""
        return self._files.label

    def image(self, reference: ImageReference, platform: Platform) -> Image:
        """An archive is loaded whole and never asked for one name."""
        raise ImageError(f"{self.label} is not searched by name", "use cwl-userspace load")

    def layer(self, layer: Layer) -> Iterator[bytes]:
        """The bytes of a layer as they stand in the archive, not verified."""
        assert layer.diff_id is not None
        return self._files.chunks(self._names[layer.diff_id])

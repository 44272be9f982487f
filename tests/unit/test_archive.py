"""What an archive or a layout holds: which images, under which names, read without unpacking."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cwl_userspace.errors import ImageError, ImageNotFound, LayerError, UserspaceError
from cwl_userspace.image.archive import Loadable, loadable
from cwl_userspace.image.files import Directory, TarFile, read
from cwl_userspace.oci import Platform
from tests import tars
from tests.images import (
    MANIFEST,
    Layout,
    docker_classic,
    docker_flat,
    docker_hybrid,
    oci_directory,
    oci_tar,
    plain,
    platform_json,
    sha256,
)

HOST = Platform.host()
LAYERS = [tars.layer(tars.file("a")), tars.layer(tars.file("b")), tars.layer(tars.file("a"))]


def found(path: Path, tmp_path: Path, platform: Platform = HOST) -> list[Loadable]:
    return loadable(str(path), str(tmp_path), platform)


def layers_of(entry: Loadable) -> list[str]:
    return [sha256(b"".join(entry.source.layer(layer))) for layer in entry.image.layers]


@pytest.mark.parametrize(
    "make", [docker_classic, docker_flat, docker_hybrid], ids=["classic", "flat", "hybrid"]
)
def test_the_layers_of_a_docker_archive_are_those_of_the_image(
    tmp_path: Path, make: Callable[[list[bytes]], bytes]
) -> None:
    path = tmp_path / "archive"
    path.write_bytes(make(LAYERS))
    (entry,) = found(path, tmp_path)
    assert [str(name) for name in entry.names] == ["docker.io/library/test:1"]
    assert layers_of(entry) == [str(layer.diff_id) for layer in entry.image.layers]
    assert layers_of(entry) == [sha256(layer) for layer in LAYERS]
    assert os.listdir(tmp_path) == ["archive"]


@pytest.mark.parametrize("make", [oci_directory, oci_tar])
def test_the_layers_of_a_layout_are_those_of_its_manifest(
    tmp_path: Path, make: Callable[[Path, list[bytes]], Path]
) -> None:
    (entry,) = found(make(tmp_path / "image", LAYERS), tmp_path)
    assert layers_of(entry) == [sha256(tars.gzipped(layer)) for layer in LAYERS]
    assert layers_of(entry) == [str(layer.blob.digest) for layer in entry.image.layers]


def test_all_images_of_an_archive_are_found(tmp_path: Path) -> None:
    layout = Layout()
    for name in ("one:1", "registry.example.org/two:2", ""):
        layer = tars.layer(tars.file(name.replace("/", "_") or "none"))
        layout.entry(layout.manifest([layer], plain), name)
    entries = found(layout.directory(tmp_path / "image"), tmp_path)
    assert [[n.familiar for n in entry.names] for entry in entries] == [
        ["one:1"], ["registry.example.org/two:2"], [],
    ]  # fmt: skip


def test_an_image_for_another_platform_is_found_when_asked_for(tmp_path: Path) -> None:
    other = Platform("linux", "s390x")
    layout = Layout()
    for platform in (other, HOST):
        manifest = layout.manifest([tars.layer(tars.file(platform.architecture))], plain, platform)
        layout.entry(manifest, "two:1", platform=platform_json(platform))
    path = layout.tar(tmp_path / "image.tar")
    for platform in (other, HOST):
        (entry,) = found(path, tmp_path, platform)
        assert layers_of(entry) == [sha256(tars.layer(tars.file(platform.architecture)))]
    with pytest.raises(ImageError, match="linux/s390x"):
        found(path, tmp_path, Platform("linux", "mips"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tars.layer(tars.file("bin/sh")), "holds no image"),
        (b"", "holds no image"),
        (b"\x1f\x8b", "cut short|damaged"),
        (b"PK\3\4 a zip file" * 100, "damaged|not a tar"),
        (docker_flat(LAYERS, b"[]"), "lists no image"),
        (docker_flat(LAYERS, b"{}"), "lists no image"),
        (docker_flat(LAYERS)[:3000], "ends in the middle"),
        (tars.layer(tars.file("oci-layout", b'{"imageLayoutVersion": "2.0.0"}')), "version"),
        (tars.layer(tars.file("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')), "index.json"),
    ],
)
def test_anything_else_is_refused_with_its_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "archive"
    path.write_bytes(content)
    with pytest.raises(UserspaceError, match=reason):
        found(path, tmp_path)


def test_an_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no-such-file"):
        found(tmp_path / "no-such-file", tmp_path)
    with pytest.raises(ImageError, match="OCI image layout"):
        found(tmp_path, tmp_path)


def test_an_archive_that_cannot_be_sought_in_is_copied_first(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(docker_classic(LAYERS),))
    writer.start()
    (entry,) = found(fifo, tmp_path)
    writer.join()
    assert layers_of(entry) == [sha256(layer) for layer in LAYERS]


def test_links_of_an_archive_are_followed_inside_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(
        tars.layer(
            tars.file("d/real", b"content"), tars.symlink("d/near", "real"),
            tars.symlink("far", "./d/../d/near"), tars.hard_link("hard", "d/real"),
            tars.symlink("out", "/etc/passwd"), tars.symlink("up", "../../etc/passwd"),
            tars.symlink("loop", "loop"), tars.file("./dotted", b"x"),
        )
    )  # fmt: skip
    with open(path, "rb") as opened:
        files = TarFile(opened, "the archive")
        for name in ("d/real", "d/near", "far", "hard", "./far"):
            assert read(files, name) == b"content"
        assert read(files, "dotted") == b"x"
        for name in ("out", "up", "loop", "d", "/etc/passwd", "../archive"):
            assert name not in files
            with pytest.raises(ImageNotFound):
                read(files, name)


def test_an_archive_that_shrinks_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(tars.layer(tars.file("f", b"x" * 5000)))
    with open(path, "rb") as opened:
        files = TarFile(opened, "the archive")
        os.truncate(path, 3000)
        with pytest.raises(LayerError, match="cut short"):
            read(files, "f")


def test_a_fifo_in_a_layout_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "oci-layout")
    with pytest.raises(UserspaceError):
        read(Directory(str(tmp_path)), "oci-layout")


def test_a_document_without_end_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "oci-layout").symlink_to("/dev/zero")
    with pytest.raises(UserspaceError):
        found(tmp_path, tmp_path)


def test_the_media_type_of_a_layer_is_not_believed(tmp_path: Path) -> None:
    layout = Layout()
    manifest = layout.manifest(LAYERS, tars.zstd)
    manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip"
    layout.entry({**manifest, "mediaType": MANIFEST})
    (entry,) = found(layout.directory(tmp_path / "image"), tmp_path)
    assert layers_of(entry)[0] == sha256(tars.zstd(LAYERS[0]))

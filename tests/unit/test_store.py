"""The store on disk: what is published is whole, names are found, leftovers go."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cwl_userspace.errors import ImageError, ImageNotFound, StoreError
from cwl_userspace.image.archive import loadable
from cwl_userspace.image.confine import remove_tree
from cwl_userspace.oci import Platform, chain_id
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import records
from cwl_userspace.store.copy import copy_tree
from cwl_userspace.store.images import add, ensure
from cwl_userspace.store.owner import private_name
from cwl_userspace.store.records import Record
from cwl_userspace.store.remove import remove_image, remove_name
from cwl_userspace.store.store import Store
from cwl_userspace.store.workspace import abandoned, sweep, workspace
from tests import tars
from tests.images import Layout, oci_directory
from tests.trees import snapshot

LAYER = tars.layer(tars.file("f", b"content"))


def quiet(doing: str) -> None:
    """Nobody listens."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "store"))
    made.prepare()
    return made


def put(store: Store, top: Path, name: str, *layers: bytes) -> Record:
    path = oci_directory(top / f"image-{name.replace('/', '_')}", layers or [LAYER], name=name)
    (entry,) = loadable(str(path), str(top), Platform.host())
    return add(store, entry.image, entry.source, entry.names, quiet)


def test_what_is_prepared_has_a_format_and_can_be_prepared_again(store: Store) -> None:
    Path(store.path, "format").chmod(0o444)
    store.prepare()
    assert Path(store.path, "format").read_text() == "2\n"
    assert sorted(os.listdir(store.path)) == [
        "blobs", "format", "images", "leases", "locks", "names", "packs", "tmp", "trees",
    ]  # fmt: skip


def test_a_store_that_is_not_there_is_empty_and_is_not_made(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "none"))
    store.check()
    assert not list(records.names(store)) and not records.identifiers(store)
    with pytest.raises(ImageNotFound):
        records.find(store, "debian")
    assert not os.path.exists(store.path)


def test_a_store_cannot_be_made_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="CWL_USERSPACE_HOME"):
        Store(str(tmp_path / "file" / "store")).prepare()


def test_an_image_is_found_by_every_kind_of_name(store: Store, tmp_path: Path) -> None:
    record = put(store, tmp_path, "debian:12")
    found = [
        "debian:12", "docker.io/library/debian:12", "index.docker.io/debian:12",
        str(record.id), record.id.hex, record.id.hex[:12], record.id.hex[:4],
    ]  # fmt: skip
    assert {str(records.find(store, name).id) for name in found} == {str(record.id)}
    for name in ("debian", "debian:13", "other/debian:12", "0" * 64, record.id.hex[:3], "UPPER"):
        with pytest.raises(ImageError if name != "UPPER" else Exception):
            records.find(store, name)


def test_the_beginning_of_several_ids_is_not_an_id(store: Store, tmp_path: Path) -> None:
    record = put(store, tmp_path, "debian:12")
    document = json.loads(record.to_json())
    alike = record.id.hex[:8] + "0" * 56
    document["id"] = f"sha256:{alike}"
    store.write_file(f"images/{alike}.json", json.dumps(document))
    with pytest.raises(ImageError, match="2 ids"):
        records.find(store, record.id.hex[:8])
    assert str(records.find(store, alike).id) == f"sha256:{alike}"


def test_a_name_moves_to_the_image_that_came_last(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path, "tool:1")
    second = put(store, tmp_path / "later", "tool:1", tars.layer(tars.file("g")))
    assert records.find(store, "tool:1").id.hex == second.id.hex
    assert len(list(records.names(store))) == 1 and len(records.identifiers(store)) == 2


def test_the_chain_of_layers_is_that_of_the_specification() -> None:
    """config.md, "Layer ChainID": ChainID(L0|L1) = Digest(ChainID(L0) + " " + DiffID(L1))."""
    import hashlib

    from cwl_userspace.digest import Digest

    one, two = Digest("1" * 64), Digest("2" * 64)
    assert chain_id([one]) == one
    joined = hashlib.sha256(f"sha256:{'1' * 64} sha256:{'2' * 64}".encode()).hexdigest()
    assert chain_id([one, two]).hex == joined != chain_id([two, one]).hex


def test_a_tree_is_shared_by_images_and_goes_with_the_last(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    made = []
    for name in ("one:1", "two:1"):
        manifest = layout.manifest([LAYER])
        config = json.loads(layout.blobs[manifest["config"]["digest"]])
        manifest["config"] = layout.add({**config, "author": name}, manifest["config"]["mediaType"])
        layout.entry(manifest, name)
    for entry in loadable(str(layout.directory(tmp_path / "i")), str(tmp_path), Platform.host()):
        made.append(add(store, entry.image, entry.source, entry.names, quiet))
    first, second = made
    assert first.id.hex != second.id.hex and first.chain == second.chain
    remove_image(store, first)
    assert store.has_tree(second.chain)
    remove_image(store, second)
    assert not store.has_tree(second.chain) and os.listdir(os.path.join(store.path, "trees")) == []


def test_a_name_that_is_removed_leaves_the_image(store: Store, tmp_path: Path) -> None:
    record = put(store, tmp_path, "tool:1")
    remove_name(store, "docker.io/library/tool:1")
    remove_name(store, "docker.io/library/tool:1")
    assert records.find(store, str(record.id)).chain == record.chain
    with pytest.raises(ImageNotFound):
        records.find(store, "tool:1")


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"7", b'{"image": 5}', b"\xff"])
def test_a_damaged_entry_is_named_and_a_torn_one_not_there_and_neither_hides_the_others(
    store: Store, tmp_path: Path, content: bytes
) -> None:
    put(store, tmp_path, "good:1")
    path = Path(store.path, "names", records.file_name("docker.io/library/bad:1"))
    path.write_bytes(content)
    with pytest.raises((StoreError, ImageError), match="bad:1"):
        records.find(store, "bad:1")
    assert records.find(store, "good:1")
    if content in (b"", b"{", b"\xff", b"null"):  # as a crash may leave it
        assert [name for name, _ in records.names(store)] == ["docker.io/library/good:1"]
    else:
        with pytest.raises(StoreError, match="bad:1"):
            list(records.names(store))


def test_a_file_is_whole_or_not_there(store: Store) -> None:
    store.write_file("names/x", "first")
    with pytest.raises(StoreError, match="names/none/x"):
        store.write_file("names/none/x", "second")
    os.mkdir(os.path.join(store.path, "names", "taken"))
    with pytest.raises(StoreError):
        store.write_file("names/taken", "third")
    assert Path(store.path, "names", "x").read_text() == "first"
    assert os.listdir(os.path.join(store.path, "tmp")) == []


def test_the_first_who_publishes_wins(store: Store) -> None:
    for content in ("first", "second"):
        with workspace(store) as private:
            Path(private, "f").write_text(content)
            assert store.publish(private, "trees/x") == (content == "first")
    assert Path(store.path, "trees", "x", "f").read_text() == "first"
    assert os.listdir(os.path.join(store.path, "tmp")) == []


def test_a_workspace_goes_whatever_happened_in_it(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), workspace(store) as private:
        os.mkdir(os.path.join(private, "closed"), 0o000)
        raise KeyboardInterrupt
    assert os.listdir(os.path.join(store.path, "tmp")) == []


def test_what_the_dead_left_is_swept_and_what_others_have_stays(store: Store) -> None:
    top = os.path.join(store.path, "tmp")
    name = "from cwl_userspace.store.owner import private_name; print(private_name())"
    dead = subprocess.run(
        [sys.executable, "-c", name], capture_output=True, text=True, check=True
    ).stdout.strip()
    pieces = dead.split(".")
    elsewhere = ".".join((*pieces[:3], "1", *pieces[4:]))  # another name space of process ids
    kept = [private_name(), elsewhere, "something", f"{private_name()}.file"]
    os.makedirs(os.path.join(top, dead, "rootfs", "d"))
    os.chmod(os.path.join(top, dead, "rootfs"), 0o500)
    Path(top, f"{dead}.file").touch()
    for left in kept:
        Path(top, left).touch()
    assert abandoned(dead) and not any(map(abandoned, kept))
    sweep(store)
    assert sorted(os.listdir(top)) == sorted(kept)


def test_a_source_that_fails_gives_way_to_the_next(store: Store, tmp_path: Path) -> None:
    reference = ImageReference.parse("tool:1")
    layout = Layout()
    manifest = layout.manifest([LAYER])
    layout.entry(manifest, "tool:1")
    good = layout.directory(tmp_path / "good")
    digest = manifest["layers"][0]["digest"]
    layout.blobs[digest] = layout.blobs[digest][:-1]
    bad = layout.directory(tmp_path / "bad")
    from cwl_userspace.image.layout import Layout as Source

    sources = [Source.directory(str(place)) for place in (tmp_path / "none", bad, good)]
    with pytest.raises(ImageError, match=r"2 places.*none.*(bytes|cut short|damaged)"):
        ensure(reference, sources[:2], store, Platform.host(), quiet)
    record = ensure(reference, sources, store, Platform.host(), quiet)
    assert Path(store.tree(record.chain), "f").read_bytes() == b"content"
    assert ensure(reference, [], store, Platform.host(), quiet).id == record.id
    assert os.listdir(os.path.join(store.path, "tmp")) == []


def test_a_copy_of_a_tree_is_like_the_tree(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "d" / "e").mkdir(parents=True)
    (source / "f").write_bytes(b"x" * 100_000)
    (source / "f").chmod(0o751)
    os.link(source / "f", source / "d" / "again")
    (source / "l").symlink_to("/nowhere")
    (source / "d" / "secret").write_bytes(b"")
    (source / "d" / "e").chmod(0o555)
    os.utime(source / "f", ns=(5, 7))
    os.utime(source / "d", ns=(5, 9))
    copy_tree(str(source), str(tmp_path / "copy"))
    assert snapshot(tmp_path / "copy") == snapshot(source)
    assert os.stat(tmp_path / "copy" / "f").st_mtime_ns == 7
    assert os.stat(tmp_path / "copy" / "d").st_mtime_ns == 9


def test_a_copy_has_pipes_and_holes_and_names_what_could_not_be_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    os.mkfifo(source / "pipe", 0o640)
    os.link(source / "pipe", source / "pipe again")
    with open(source / "sparse", "wb") as file:
        file.seek(64 << 20)
        file.write(b"end")
        file.truncate(128 << 20)
    (source / "closed").write_bytes(b"x")
    (source / "closed").chmod(0)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(source / "socket"))
    unread = copy_tree(str(source), str(tmp_path / "copy"))
    copy = tmp_path / "copy"
    assert sorted(os.listdir(copy)) == ["closed", "pipe", "pipe again", "sparse"]
    assert stat.S_ISFIFO((copy / "pipe").stat().st_mode)
    assert stat.S_IMODE((copy / "pipe").stat().st_mode) == 0o640
    assert (copy / "pipe").stat().st_ino == (copy / "pipe again").stat().st_ino
    assert (copy / "sparse").stat().st_size == 128 << 20
    assert (copy / "sparse").stat().st_blocks * 512 < 1 << 20
    with open(copy / "sparse", "rb") as file:
        file.seek((64 << 20) - 1)
        assert file.read(4) == b"\0end"
    assert unread == ([] if os.geteuid() == 0 else [str(source / "closed")])


def test_a_copy_may_be_deeper_than_frames_of_python(tmp_path: Path) -> None:
    for level in range(1500):
        os.mkdir(f"{tmp_path}/source{'/d' * level}")
    try:
        copy_tree(str(tmp_path / "source"), str(tmp_path / "copy"))
        assert os.path.isdir(f"{tmp_path}/copy{'/d' * 1499}")
    finally:
        remove_tree(str(tmp_path / "source"))
        remove_tree(str(tmp_path / "copy"))


def test_what_everybody_may_read_in_an_image_everybody_may_read_in_the_store(
    store: Store, tmp_path: Path
) -> None:
    record = put(store, tmp_path, "tool:1")
    for place in (store.path, os.path.dirname(store.tree(record.chain)), store.tree(record.chain)):
        assert stat.S_IMODE(os.stat(place).st_mode) & 0o755 == 0o755 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

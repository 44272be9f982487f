"""What was done before is not done again, and the layers of an image are what it says."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path

import pytest
import zstandard

from tests.building import Workshop, facts
from tests.containers import Home, Tar

TAKEN = b"taken from the cache"


@pytest.fixture
def shop(home: Home, tmp_path: Path) -> Workshop:
    place = tmp_path / "context"
    place.mkdir()
    return Workshop(home, place)


def taken(shop: Workshop, text: str, *options: str) -> int:
    """How many steps of a build were not done again."""
    ran = shop.build(text, *options, cache=True)
    assert ran.code == 0, ran.err
    return ran.err.count(TAKEN)


def test_steps_are_done_once_and_the_image_is_the_same(shop: Workshop) -> None:
    shop.write("file", "1")
    text = f"""
FROM busybox AS one
WORKDIR /w
COPY file .
RUN echo {uuid.uuid4()} > random; date +%s%N >> random
FROM bare
COPY --from=one /w /w
ENV A=1
"""
    assert taken(shop, text) == 0
    first, document = facts(shop.tree, times=True), shop.document()
    assert taken(shop, text) == 4
    assert shop.document() == document
    assert shop.home.call("rmi", shop.image).code == 0
    assert taken(shop, text) == 4  # the tree is made of the layers again
    assert facts(shop.tree, times=True) == first
    assert shop.document() == document
    assert taken(shop, text, "--no-cache") == 0
    assert facts(shop.tree) != first


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda shop: None, 3),
        (lambda shop: os.utime(shop.context / "file", (1, 1)), 3),
        (lambda shop: shop.write("beside"), 3),
        (lambda shop: shop.write("file", "other"), 1),
        (lambda shop: (shop.context / "file").chmod(0o755), 1),
    ],
)
def test_a_step_is_done_again_when_its_files_change(
    shop: Workshop, change: object, kept: int
) -> None:
    text = f"FROM bare\nWORKDIR /{uuid.uuid4()}\nCOPY file .\nCOPY <<E document\nx\nE"
    shop.write("file", "1")
    assert taken(shop, text) == 0
    assert callable(change)
    change(shop)
    assert taken(shop, text) == kept


def test_a_command_is_run_again_when_what_it_sees_changes(shop: Workshop) -> None:
    shop.write("mounted/x", "1")
    script = f"RUN --mount=source=mounted,target=/m : {uuid.uuid4()}; cat /m/x > /x"
    text = f"FROM busybox\nARG A=1\nENV B=1\n{script}"
    assert taken(shop, text) == 0
    assert taken(shop, text) == 1
    assert taken(shop, text, "--build-arg", "A=2") == 0
    assert taken(shop, text.replace("B=1", "B=2")) == 0
    assert taken(shop, text.replace("ARG A=1", "USER tool")) == 0
    assert taken(shop, text, "--network=none") == 0
    assert taken(shop, text, "--build-arg", "HTTP_PROXY=x") == 1
    shop.write("mounted/x", "2")
    assert taken(shop, text) == 0
    assert (shop.tree / "x").read_text() == "2"


def test_the_layers_are_what_the_configuration_says(home: Home, tmp_path: Path) -> None:
    """Another store makes the same tree of the base's layer and of those that were kept."""
    (tmp_path / "context").mkdir()
    shop = Workshop(home, tmp_path / "context")
    base = Tar().directory("bin").directory("a", 0o555).file("a/old", b"x").file("gone", b"")
    base.directory("d").file("d/1").file("d/2").link("turned", "d").directory("opaque")
    base.file("opaque/x").file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
    home.add("layered", base.bytes(), {})
    shop.write("file", "copied")
    tree = shop.built(
        """
FROM layered
SHELL ["/bin/busybox", "sh", "-ec"]
RUN b() { /bin/busybox "$@"; }; b rm gone d/1; b echo y > /a/new; b ln a/old a/again; \\
    b rm turned; b mkdir -m 711 turned; b rm -r opaque; b mkdir opaque; b touch opaque/y; \\
    b touch -d 2001-02-03 d/2; b chmod 640 a/old
RUN /bin/busybox rm -r d; /bin/busybox ln -s /nowhere d
COPY file /a/new
"""
    )
    document = shop.document()
    diff_ids = document["rootfs"]["diff_ids"]
    archive = Tar().file("config.json", json.dumps(document).encode())
    for number, diff_id in enumerate(diff_ids):
        layer = base.bytes() if number == 0 else unpacked(home, diff_id)
        assert f"sha256:{hashlib.sha256(layer).hexdigest()}" == diff_id
        archive.file(f"{number}.tar", layer)
    layers = [f"{number}.tar" for number in range(len(diff_ids))]
    manifest = [{"Config": "config.json", "RepoTags": ["other:1"], "Layers": layers}]
    (tmp_path / "x.tar").write_bytes(
        archive.file("manifest.json", json.dumps(manifest).encode()).bytes()
    )
    (tmp_path / "other").mkdir()
    other = Home(tmp_path / "other")
    assert other.call("load", "-i", tmp_path / "x.tar").code == 0
    assert facts(other.tree("other:1"), times=True) == facts(tree, times=True)
    assert not {"gone", "d/1", "d/2", "opaque/x"} & facts(tree).keys()
    assert {"a/again", "opaque/y", "turned", "d"} <= facts(tree).keys()
    assert (tree / "a").stat().st_mode & 0o777 == 0o555


def unpacked(home: Home, diff_id: str) -> bytes:
    path = home.place / "store" / "build" / "layers" / diff_id.removeprefix("sha256:")
    return zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())


def test_a_damaged_cache_is_noticed_and_can_be_removed(home: Home, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "home").mkdir()
    own = Home(tmp_path / "home")
    shop = Workshop(own, tmp_path / "context")
    text = "FROM scratch\nCOPY Dockerfile /one\nCOPY Dockerfile /two"
    shop.build(text, cache=True)
    own.call("rmi", shop.image)
    layers = own.place / "store" / "build" / "layers"
    for path in layers.iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    ran = shop.build(text, cache=True)
    assert ran.code == 125
    assert b"build again with --no-cache" in ran.err
    assert own.call("images", "-q").out == b""
    assert shop.build(text).code == 0
    for path in layers.iterdir():
        path.unlink()
    assert taken(shop, text.replace("two", "three")) == 0
    shutil.rmtree(layers.parent)
    assert taken(shop, text) == 0


def test_base_images_are_not_changed_by_a_build(shop: Workshop) -> None:
    before = facts(shop.home.tree("busybox"), times=True)
    shop.built("FROM busybox\nRUN rm -r /etc; echo x >> /bin/not-executable; chmod 700 /bin")
    assert facts(shop.home.tree("busybox"), times=True) == before

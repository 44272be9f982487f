"""Images that extend others: what is fetched, what is shared, and what one tree owes the other."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cwl_userspace.errors import ImageError
from cwl_userspace.image.layout import Layout
from cwl_userspace.oci import Layer, Platform
from cwl_userspace.reference import ImageReference
from cwl_userspace.store.beneath import Beneath
from cwl_userspace.store.copy import has_reflinks
from cwl_userspace.store.images import ensure
from cwl_userspace.store.records import Record
from cwl_userspace.store.remove import remove_image
from cwl_userspace.store.store import Store
from tests import tars
from tests.images import NAME, oci_directory, sha256
from tests.trees import Snapshot, snapshot

LOWER = tars.layer(
    tars.directory("bin", mtime=1_500_000_000),
    tars.file("bin/tool", b"the tool", 0o755),
    tars.file("bin/other", b"another"),
    tars.hard_link("bin/same", "bin/tool"),
    tars.symlink("lib", "bin"),
    tars.directory("closed", 0o555),
    tars.file("closed/secret", b"shadow", 0o000),
    tars.file("gone", b"not for long"),
    tars.file("empty"),
    tars.file("setuid", b"s", 0o4755),
)
UPPER = tars.layer(
    tars.file("bin/other", b"replaced", 0o600),
    tars.file("lib/more", b"through a link"),
    tars.file("closed/more", b"x"),
    tars.hard_link("bin/third", "bin/tool"),
    tars.whiteout("gone"),
)
TOP = tars.layer(tars.file("top", b"1"))


class Counting:
    """A layout that notes whose bytes it was asked for."""

    label = "a test"

    def __init__(self, path: Path) -> None:
        self._layout = Layout.directory(str(path))
        self.image = self._layout.image
        self.asked: list[int] = []

    def layer(self, layer: Layer) -> Iterator[bytes]:
        self.asked.append(layer.blob.size or 0)
        return self._layout.layer(layer)


class Shop:
    """A store, and images of layers to put into it."""

    def __init__(self, top: Path, store: str = "store") -> None:
        self._top = top
        self._number = 0
        self.store = Store(str(top / store))

    def put(self, *layers: bytes) -> tuple[Record, int]:
        """Fetch an image; its record, and how many layers were asked for."""
        self._number += 1
        source = self.source(layers)
        return self.fetch(source), len(source.asked)

    def source(self, layers: Sequence[bytes]) -> Counting:
        place = self._top / f"{os.path.basename(self.store.path)}-image-{self._number}"
        return Counting(oci_directory(place, layers, name=f"docker.io/library/{NAME}"))

    def fetch(self, source: Counting) -> Record:
        name = ImageReference.parse(NAME)
        return ensure(name, [source], self.store, Platform.host(), lambda doing: None, True)

    def tree(self, record: Record) -> Path:
        return Path(self.store.tree(record.chain))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def times(top: Path) -> dict[str, int]:
    """When each name below was changed."""
    return {str(p.relative_to(top)): p.lstat().st_mtime_ns for p in top.rglob("*")}


def whole(tmp_path: Path, *layers: bytes) -> tuple[Snapshot, dict[str, int]]:
    """The tree of the same layers in a store that has nothing else."""
    shop = Shop(tmp_path, "whole")
    record, asked = shop.put(*layers)
    assert asked == len(layers)
    tree = shop.tree(record)
    return snapshot(tree), times(tree)


def inodes(tree: Path, *names: str) -> list[int]:
    return [(tree / name).lstat().st_ino for name in names]


def test_only_new_layers_are_fetched_and_the_tree_is_as_if_all_were(
    shop: Shop, tmp_path: Path
) -> None:
    base, _ = shop.put(LOWER)
    before, before_times = snapshot(shop.tree(base)), times(shop.tree(base))
    record, asked = shop.put(LOWER, UPPER, TOP)
    assert asked == 2
    expected, expected_times = whole(tmp_path, LOWER, UPPER, TOP)
    assert snapshot(shop.tree(record)) == expected
    assert times(shop.tree(record)) == expected_times
    assert (snapshot(shop.tree(base)), times(shop.tree(base))) == (before, before_times)


def test_the_largest_of_several_bases_is_taken(shop: Shop) -> None:
    shop.put(LOWER)
    shop.put(LOWER, UPPER)
    _, asked = shop.put(LOWER, UPPER, TOP)
    assert asked == 1


def test_layers_in_another_order_are_no_base(shop: Shop) -> None:
    shop.put(LOWER)
    _, asked = shop.put(TOP, LOWER)
    assert asked == 2


@pytest.mark.parametrize(("mode", "asked"), [(0o755, 1), (0o2775, 2)])
def test_a_tree_beneath_is_a_base_unless_a_group_has_opened_it(
    shop: Shop, tmp_path: Path, mode: int, asked: int
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    site.chmod(mode)
    below = Shop(tmp_path, "site")
    below.put(LOWER)
    shop.store = Store(shop.store.path, Beneath([str(site)], lambda said: None))
    record, fetched = shop.put(LOWER, UPPER)
    assert fetched == asked
    assert snapshot(shop.tree(record)) == whole(tmp_path, LOWER, UPPER)[0]


def test_what_is_known_of_a_tree_counts_its_base_too(shop: Shop, tmp_path: Path) -> None:
    shop.put(LOWER)
    record, _ = shop.put(LOWER, UPPER)
    other = Shop(tmp_path, "other")
    alone, _ = other.put(LOWER, UPPER)
    assert record.size == alone.size
    stated = [
        (s.tree(r).parent / "tree.json").read_text() for s, r in ((shop, record), (other, alone))
    ]
    assert stated[0] == stated[1]


def test_files_are_shared_and_what_is_new_is_not(shop: Shop) -> None:
    base, _ = shop.put(LOWER)
    record, _ = shop.put(LOWER, UPPER)
    old, new = shop.tree(base), shop.tree(record)
    shared = set(inodes(new, "bin/tool", "bin/same", "bin/third", "empty"))
    if has_reflinks(str(new.parent)):  # blocks are shared, and no file needs two names
        assert not shared & set(inodes(old, "bin/tool", "empty"))
    else:
        assert shared == set(inodes(old, "bin/tool", "bin/same", "empty"))
    assert inodes(new, "bin/other", "bin", "lib") != inodes(old, "bin/other", "bin", "lib")
    assert (old / "bin/other").read_bytes() == b"another"


def test_nothing_is_shared_where_the_settings_say_so(shop: Shop) -> None:
    shop.store.share_files = False
    base, _ = shop.put(LOWER)
    record, asked = shop.put(LOWER, UPPER)
    # A file that not even its owner may read cannot be copied: then everything is fetched.
    assert asked == (1 if os.geteuid() == 0 else 2)
    assert not set(inodes(shop.tree(record), "bin/tool", "empty", "closed/secret")) & set(
        inodes(shop.tree(base), "bin/tool", "empty", "closed/secret")
    )


@pytest.mark.parametrize("first", [0, 1])
def test_a_tree_that_is_removed_leaves_the_other_whole(shop: Shop, first: int) -> None:
    both = [shop.put(LOWER)[0], shop.put(LOWER, UPPER)[0]]
    kept = both[1 - first]
    before = snapshot(shop.tree(kept))
    remove_image(shop.store, both[first])
    assert not shop.tree(both[first]).exists()
    assert snapshot(shop.tree(kept)) == before


def test_a_tree_whose_record_is_damaged_is_not_built_upon(shop: Shop) -> None:
    base, _ = shop.put(LOWER)
    (shop.tree(base).parent / "tree.json").write_text("[]")
    _, asked = shop.put(LOWER, UPPER)
    assert asked == 2
    assert os.listdir(Path(shop.store.path, "tmp")) == []


def test_a_layer_that_fails_leaves_the_base_and_no_litter(shop: Shop) -> None:
    base, _ = shop.put(LOWER)
    before = snapshot(shop.tree(base))
    layers = (LOWER, UPPER, tars.layer(tars.hard_link("x", "nothing")))
    with pytest.raises(Exception, match="no file"):
        shop.put(*layers)
    assert snapshot(shop.tree(base)) == before
    assert os.listdir(Path(shop.store.path, "tmp")) == []
    assert len(os.listdir(Path(shop.store.path, "trees"))) == 1


# Layers that are kept as they were fetched.


def blobs(shop: Shop) -> int:
    sizes = [p.stat().st_size for p in Path(shop.store.path, "blobs/sha256").iterdir()]
    return sum(size > 0 for size in sizes)


def drop_trees(shop: Shop) -> None:
    for tree in Path(shop.store.path, "trees").iterdir():
        with contextlib.suppress(OSError):
            (tree / "rootfs/closed").chmod(0o700)
        shutil.rmtree(tree)


def test_layers_are_not_kept_unless_asked_for(shop: Shop) -> None:
    shop.put(LOWER, UPPER)
    assert blobs(shop) == 2  # the manifest and the configuration


def test_layers_that_are_kept_are_not_fetched_again(shop: Shop) -> None:
    shop.store.keep_blobs = True
    first, _ = shop.put(LOWER, UPPER)
    assert blobs(shop) == 4
    before = snapshot(shop.tree(first))
    drop_trees(shop)
    again, asked = shop.put(LOWER, UPPER)
    assert asked == 0 and snapshot(shop.tree(again)) == before
    shop.store.keep_blobs = False
    _, asked = shop.put(TOP, LOWER)
    assert asked == 1


def test_a_kept_layer_that_is_damaged_is_fetched_again(shop: Shop) -> None:
    shop.store.keep_blobs = True
    first, _ = shop.put(LOWER, UPPER)
    before = snapshot(shop.tree(first))
    drop_trees(shop)
    kept = Path(shop.store.path, "blobs", sha256(tars.gzipped(LOWER)).replace(":", "/"))
    raw = kept.read_bytes()
    kept.write_bytes(raw[:-20] + bytes(20))
    again, asked = shop.put(LOWER, UPPER)
    assert asked == 1 and snapshot(shop.tree(again)) == before
    assert kept.read_bytes() == raw


def test_a_layer_that_is_not_what_it_should_be_is_not_kept(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.store.keep_blobs = True
    source = shop.source([LOWER])
    layer = source.layer

    def damaged(wanted: Layer) -> Iterator[bytes]:
        yield b"".join(layer(wanted))[:-1] + b"!"

    monkeypatch.setattr(source, "layer", damaged)
    with pytest.raises(ImageError):
        shop.fetch(source)
    assert blobs(shop) == 0
    assert os.listdir(Path(shop.store.path, "tmp")) == []

"""Images that extend others: what is fetched, what is shared, and what one tree owes the other."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwl_userspace.errors import ImageError, LayerError
from cwl_userspace.image.confine import remove_tree
from cwl_userspace.image.contents import steps
from cwl_userspace.image.layout import Layout
from cwl_userspace.oci import Layer, Platform
from cwl_userspace.reference import ImageReference
from cwl_userspace.store.beneath import Beneath
from cwl_userspace.store.copy import has_reflinks
from cwl_userspace.store.images import ensure
from cwl_userspace.store.records import Record
from cwl_userspace.store.remove import remove_image
from cwl_userspace.store.store import CONTENTS, REPLACED, Store
from tests import tars
from tests.containers import settled
from tests.fuzzing import examples
from tests.images import NAME, oci_directory, sha256
from tests.layer_model import Entry, packed
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


# Images of which neither extends the other.

SIBLING = tars.layer(
    tars.file("bin/tool", b"another tool", 0o700),
    tars.directory("closed", 0o755, mtime=1_400_000_000),
    tars.whiteout("lib"),
    tars.file("mine", b"mine"),
)


def same_as_alone(shop: Shop, record: Record, tmp_path: Path, *layers: bytes) -> bool:
    """True if a tree, and what is known of it, is what the layers give where nothing else is."""
    other = Shop(tmp_path, f"alone-{record.chain.hex[:8]}")
    alone, asked = other.put(*layers)
    assert asked == len(layers)
    mine, theirs = shop.tree(record), other.tree(alone)
    facts = [(tree.parent / "tree.json").read_text() for tree in (mine, theirs)]
    contents = [packed_steps(tree.parent / CONTENTS) for tree in (mine, theirs)]
    return (
        snapshot(mine) == snapshot(theirs)
        and times(mine) == times(theirs)
        and facts[0] == facts[1]
        and contents[0] == contents[1]
    )


def packed_steps(record: Path) -> list[tuple[bytes, ...]]:
    return list(steps(record.read_bytes(), str(record)))


def test_an_image_with_the_same_lowest_layers_gives_them(shop: Shop, tmp_path: Path) -> None:
    first, _ = shop.put(LOWER, UPPER)
    before = snapshot(shop.tree(first)), times(shop.tree(first))
    record, asked = shop.put(LOWER, SIBLING)
    assert asked == 1
    assert same_as_alone(shop, record, tmp_path, LOWER, SIBLING)
    assert (snapshot(shop.tree(first)), times(shop.tree(first))) == before
    if not has_reflinks(str(shop.tree(record).parent)):
        names = "bin/same", "empty", "setuid"
        assert inodes(shop.tree(record), *names) == inodes(shop.tree(first), *names)


def test_of_an_image_that_another_extends_nothing_is_fetched(shop: Shop, tmp_path: Path) -> None:
    shop.put(LOWER, UPPER, TOP)
    for layers in ((LOWER, UPPER), (LOWER,)):
        record, asked = shop.put(*layers)
        assert asked == 0
        assert same_as_alone(shop, record, tmp_path, *layers)


def test_a_third_image_goes_on_from_what_a_second_took_of_the_first(
    shop: Shop, tmp_path: Path
) -> None:
    first, _ = shop.put(LOWER, UPPER, SIBLING)
    second, asked = shop.put(LOWER, UPPER, TOP)
    assert asked == 1
    remove_image(shop.store, first)
    third, asked = shop.put(LOWER, SIBLING)
    assert asked == 1
    assert same_as_alone(shop, second, tmp_path, LOWER, UPPER, TOP)
    assert same_as_alone(shop, third, tmp_path, LOWER, SIBLING)


def test_what_was_replaced_and_is_lost_or_damaged_is_fetched_again(
    shop: Shop, tmp_path: Path
) -> None:
    first, _ = shop.put(LOWER, UPPER)
    replaced = shop.tree(first).parent / REPLACED
    victim = next(p for p in replaced.iterdir() if p.read_bytes() == b"another")
    stamp = victim.stat().st_mtime
    victim.write_bytes(bytes(7))
    os.utime(victim, (stamp, stamp))
    second, asked = shop.put(LOWER, SIBLING)
    assert asked == 2
    remove_image(shop.store, second)
    shutil.rmtree(replaced)
    record, asked = shop.put(LOWER, TOP)
    assert asked == 2
    assert same_as_alone(shop, record, tmp_path, LOWER, TOP)
    assert os.listdir(Path(shop.store.path, "tmp")) == []


def test_a_tree_of_an_earlier_release_is_no_beginning(shop: Shop) -> None:
    first, _ = shop.put(LOWER, UPPER)
    facts = shop.tree(first).parent / "tree.json"
    stated = json.loads(facts.read_text())
    del stated["layers"]
    facts.write_text(json.dumps(stated))
    assert shop.put(LOWER, SIBLING)[1] == 2


def test_what_another_user_keeps_to_himself_stops_nobody_from_going_on_from_his_tree(
    shop: Shop,
) -> None:
    record, _ = shop.put(LOWER, UPPER)
    closed = shop.tree(record).parent / REPLACED
    closed.chmod(0)  # root is not kept out by that
    try:
        assert shop.put(LOWER, UPPER, TOP)[1] == 1
    finally:
        closed.chmod(0o700)


def test_what_is_too_much_to_be_kept_leaves_room_for_what_is_not(shop: Shop) -> None:
    many = [tars.file(f"many/{number}", b"x") for number in range(200)]
    below = tars.layer(*many, tars.file("few", b"1"))
    record, _ = shop.put(below, tars.layer(tars.whiteout("many")), tars.layer(tars.whiteout("few")))
    kept = shop.tree(record).parent / REPLACED
    assert [path.name for path in kept.iterdir()] == ["2.1"]


def test_little_is_kept_of_what_is_replaced(shop: Shop) -> None:
    large, many = bytes(range(256)) * 2000, [f"many/{n}" for n in range(100)]
    lower = tars.layer(
        tars.file("large", large), tars.directory("many"), *(tars.file(n, b"x") for n in many)
    )
    upper = tars.layer(tars.file("large", b"less"), tars.whiteout("many"))
    first, _ = shop.put(lower, upper)
    assert os.listdir(shop.tree(first).parent / REPLACED) == []
    assert shop.put(lower, TOP)[1] == 2


SHORT = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
MEMBERS = st.lists(
    st.one_of(
        st.builds(
            Entry,
            st.sampled_from(["file", "file", "directory", "whiteout", "opaque"]),
            SHORT,
            st.sampled_from(["", "one", "two"]),
            st.sampled_from([0o755, 0o644, 0o555, 0o1777]),
            st.integers(-(10**9), 10**9),
        ),
        st.builds(Entry, st.just("link"), SHORT, st.sampled_from(["a", "b/c", "/a/b"])),
    ),
    max_size=8,
)


@contextlib.contextmanager
def temporary() -> Iterator[str]:
    """A directory that is removed whatever modes there are in it."""
    name = tempfile.mkdtemp()
    try:
        yield name
    finally:
        remove_tree(name)


@examples(25)
@given(st.lists(MEMBERS, min_size=1, max_size=3), MEMBERS, MEMBERS, st.booleans())
def test_whatever_two_images_have_in_common_each_is_as_if_it_were_alone(
    common: list[list[Entry]], one: list[Entry], other: list[Entry], linked: bool
) -> None:
    below = [packed(layer) for layer in common]
    mine, theirs = (
        [*below, packed([*last, Entry("file", name)])] for name, last in (("m", one), ("t", other))
    )
    with temporary() as name:
        shop = Shop(Path(name))
        shop.store.share_files = linked
        try:
            first, _ = shop.put(*mine)
            before = snapshot(shop.tree(first)), times(shop.tree(first))
            record, asked = shop.put(*theirs)
        except LayerError:  # a link into itself, say
            return
        assert asked == 1
        assert same_as_alone(shop, record, Path(name), *theirs)
        assert (snapshot(shop.tree(first)), times(shop.tree(first))) == before


# Layers that are kept as they were fetched.


def blobs(shop: Shop) -> int:
    sizes = [p.stat().st_size for p in Path(shop.store.path, "blobs/sha256").iterdir()]
    return sum(size > 0 for size in sizes)


def drop_trees(shop: Shop) -> None:
    assert settled(Path(shop.store.path)), "else who syncs a tree takes its mark away meanwhile"
    for tree in Path(shop.store.path, "trees").iterdir():
        remove_tree(str(tree))  # its mark may go by itself meanwhile


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

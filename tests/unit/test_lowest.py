"""Images that begin with the same layers, though neither extends the other."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cwl_userspace.errors import LayerError
from cwl_userspace.image.confine import remove_tree
from cwl_userspace.image.contents import steps
from cwl_userspace.store.copy import has_reflinks
from cwl_userspace.store.records import Record
from cwl_userspace.store.remove import remove_image
from cwl_userspace.store.store import CONTENTS, REPLACED
from tests import tars
from tests.fuzzing import examples
from tests.layer_model import Entry, packed
from tests.shop import LOWER, TOP, UPPER, Shop, inodes, times
from tests.trees import snapshot

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

"""Images that extend others: what is fetched, what is shared, and what one tree owes the other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cwl_userspace.store.beneath import Beneath
from cwl_userspace.store.copy import has_reflinks
from cwl_userspace.store.remove import remove_image
from cwl_userspace.store.store import Store
from tests import tars
from tests.shop import LOWER, TOP, UPPER, Shop, inodes, times, whole
from tests.trees import snapshot


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

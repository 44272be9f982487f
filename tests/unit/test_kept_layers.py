"""Layers that are kept as they were fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cwl_userspace.errors import ImageError
from cwl_userspace.image.confine import remove_tree
from cwl_userspace.oci import Layer
from tests import tars
from tests.containers import settled
from tests.images import sha256
from tests.shop import LOWER, TOP, UPPER, Shop
from tests.trees import snapshot


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

"""Whiteouts (image-spec, layer.md): they hide what is below, whatever their place in the layer."""

from __future__ import annotations

import itertools

import pytest

from tests import tars
from tests.security.conftest import Images
from tests.trees import directory, file, link

LOWER = tars.layer(
    tars.directory("dir", 0o700), tars.file("dir/x", b"x"), tars.file("dir/sub/y", b"y"),
    tars.file("f", b"f"), tars.file("g", b"g"), tars.hard_link("h", "g"),
)  # fmt: skip


def test_markers_that_come_first_hide_what_is_below(images: Images) -> None:
    upper = tars.layer(
        tars.whiteout("f"), tars.whiteout("h"), tars.whiteout("dir/sub"), tars.opaque("dir"),
        tars.file("dir/new", b"n"), tars.file("f2"),
    )  # fmt: skip
    assert images.tree(LOWER, upper) == {
        "dir": directory(0o700),
        "dir/new": file(b"n"),
        "f2": file(),
        "g": file(b"g"),
    }


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_an_opaque_marker_keeps_its_siblings_in_whatever_order(
    images: Images, order: tuple[int, ...]
) -> None:
    members = [tars.opaque("dir"), tars.file("dir/mine", b"1"), tars.file("dir/sub/mine", b"2")]
    tree = images.tree(LOWER, tars.layer(*(members[i] for i in order)))
    del tree["dir"], tree["dir/sub"]
    assert tree == {
        "dir/mine": file(b"1"),
        "dir/sub/mine": file(b"2"),
        "f": file(b"f"),
        "g": file(b"g", 0o644, "h"),
        "h": file(b"g", 0o644, "g"),
    }


@pytest.mark.parametrize("marker_first", [True, False])
def test_a_name_that_is_hidden_and_made_anew_is_new(images: Images, marker_first: bool) -> None:
    made = [tars.directory("dir", 0o711), tars.file("dir/z", b"z"), tars.file("f", b"new")]
    markers = [tars.whiteout("dir"), tars.whiteout("f")]
    tree = images.tree(LOWER, tars.layer(*(markers + made if marker_first else made + markers)))
    assert tree["dir"] == directory(0o711)
    assert {name for name in tree if name.startswith("dir")} == {"dir", "dir/z"}
    assert tree["f"] == file(b"new")


def test_an_opaque_root_hides_everything_below(images: Images) -> None:
    assert images.tree(LOWER, tars.layer(tars.file("k"), tars.opaque(""))) == {"k": file()}


def test_an_opaque_marker_needs_no_entry_for_its_directory(images: Images) -> None:
    tree = images.tree(LOWER, tars.layer(tars.opaque("dir")))
    assert [name for name in tree if name.startswith("dir")] == ["dir"]


def test_a_whiteout_hides_nothing_of_a_layer_above(images: Images) -> None:
    tree = images.tree(
        LOWER, tars.layer(tars.whiteout("f")), tars.layer(tars.file("f", b"again")),
        tars.layer(tars.opaque("dir")), tars.layer(tars.file("dir/x", b"back")),
    )  # fmt: skip
    assert tree["f"] == file(b"again") and tree["dir/x"] == file(b"back")
    assert "dir/sub" not in tree


def test_a_whiteout_of_what_is_not_there_does_nothing(images: Images) -> None:
    upper = tars.layer(
        tars.whiteout("none"), tars.whiteout("no/such/dir"), tars.opaque("no"),
        tars.whiteout("f/below-a-file"), tars.opaque("f"), tars.whiteout("..."),
    )  # fmt: skip
    assert images.tree(LOWER, upper) == images.tree(LOWER, name="test:2")


def test_a_whiteout_in_the_lowest_layer_hides_nothing(images: Images) -> None:
    layer = tars.layer(
        tars.file("a"), tars.whiteout("a"), tars.file("d/b"), tars.opaque("d"), tars.opaque("")
    )
    assert images.tree(layer) == {"a": file(), "d": directory(), "d/b": file()}


def test_a_marker_is_known_by_its_name_and_not_by_its_type(images: Images) -> None:
    upper = tars.layer(
        tars.directory(".wh.f"), tars.symlink(".wh.h", "/etc"), tars.special("dir/.wh.x", b"3"),
        tars.hard_link("dir/.wh.sub", "g"), tars.file(".wh.none", b"content" * 500),
    )  # fmt: skip
    assert images.tree(LOWER, upper) == {"dir": directory(0o700), "g": file(b"g")}


def test_markers_themselves_are_never_seen(images: Images) -> None:
    aufs = tars.layer(
        tars.directory(".wh..wh.plnk", 0o700), tars.file(".wh..wh.plnk/123.456", b"linked"),
        tars.directory(".wh..wh.orph", 0o700), tars.file(".wh..wh.aufs", b""),
        tars.file("dir/.wh..wh.plnk/sub/deeper"), tars.file("kept", b"k"),
    )  # fmt: skip
    assert images.tree(aufs) == {"kept": file(b"k")}
    assert images.tree(LOWER, aufs, name="test:2").keys() == {
        *images.tree(LOWER, name="test:3"), "kept",
    }  # fmt: skip


def test_a_hard_link_keeps_what_a_later_marker_hides(images: Images) -> None:
    upper = tars.layer(tars.hard_link("kept", "f"), tars.whiteout("f"))
    tree = images.tree(LOWER, upper)
    assert tree["kept"] == file(b"f") and "f" not in tree


def test_a_hard_link_to_what_is_hidden_already_is_no_escape(images: Images) -> None:
    tree = images.either(LOWER, tars.layer(tars.whiteout("f"), tars.hard_link("kept", "f")))
    assert tree is None or "f" not in tree


def test_the_order_of_layers_decides(images: Images) -> None:
    upper = tars.layer(tars.whiteout("f"), tars.file("g", b"upper"))
    right, swapped = images.tree(LOWER, upper), images.tree(upper, LOWER, name="test:2")
    assert "f" not in right and right["g"] == file(b"upper") and right["h"] == file(b"g")
    assert swapped["f"] == file(b"f") and swapped["g"] == file(b"g", 0o644, "h")
    assert images.command.path() != images.command.path("test:2")


def test_whiteouts_reach_through_links_of_the_image(images: Images) -> None:
    lower = tars.layer(tars.file("usr/lib/old"), tars.symlink("lib", "usr/lib"))
    tree = images.tree(lower, tars.layer(tars.whiteout("lib/old"), tars.file("lib/new")))
    assert tree == {
        "usr": directory(),
        "usr/lib": directory(),
        "usr/lib/new": file(),
        "lib": link("usr/lib"),
    }

"""Layers that try to get out of the tree: whatever they hold, nothing outside it changes."""

from __future__ import annotations

import pytest

from tests import tars
from tests.security.conftest import Images
from tests.trees import Canary, directory, file, link

UP = "../" * 30


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..", "/../evil"])
def test_a_name_that_leaves_the_root_stays_inside(images: Images, name: str) -> None:
    tree = images.either(tars.layer(tars.file(name, b"x")))
    assert tree in (None, {"evil": file(b"x")})


@pytest.mark.parametrize("absolute", [False, True])
def test_a_full_path_out_of_the_root_does_not_reach_the_host(
    images: Images, canary: Canary, absolute: bool
) -> None:
    lead = "" if absolute else UP
    images.either(
        tars.layer(
            tars.file(f"{lead}{canary}/f", b"evil"),
            tars.file(f"{lead}{canary}/new", b"evil"),
            tars.directory(f"{lead}{canary}", 0o777),
            tars.symlink(f"{lead}{canary}/sub", "/"),
            tars.whiteout(f"{lead}{canary}/f"),
        ),
        tars.layer(tars.whiteout(f"{lead}{canary}/f"), tars.opaque(f"{lead}{canary}")),
    )


@pytest.mark.parametrize("hop", ["", UP])
@pytest.mark.parametrize("layers", [1, 2])
def test_writing_through_a_link_stays_inside(
    images: Images, canary: Canary, hop: str, layers: int
) -> None:
    first = tars.symlink("link", f"{hop}{canary}")
    then = [
        tars.file("link/f", b"evil"),
        tars.file("link/new", b"evil"),
        tars.directory("link/sub", 0o777),
        tars.hard_link("taken", "link/sub/g"),
        tars.file("link/sub/g", b"evil"),
    ]
    if layers == 1:
        images.either(tars.layer(first, *then))
    else:
        images.either(tars.layer(first), tars.layer(*then))


def test_a_chain_of_links_stays_inside(images: Images, canary: Canary) -> None:
    images.either(
        tars.layer(
            tars.symlink("a", "."),
            tars.symlink("b", "a/.."),
            tars.symlink("c", f"b/../{UP}{str(canary)[1:]}"),
            tars.file("c/f", b"evil"),
            tars.symlink("d", "/proc/self/root"),
            tars.file(f"d{canary}/f", b"evil"),
            tars.symlink("e", "/proc/self/cwd"),
            tars.file("e/evil", b"evil"),
        )
    )


def test_a_link_to_the_sibling_whose_name_begins_alike_stays_inside(images: Images) -> None:
    images.either(
        tars.layer(
            tars.symlink("link", "../rootfs-evil"),
            tars.file("link/x", b"x"),
            tars.file("../rootfs-evil/y", b"y"),
        )
    )
    # What is in the tree itself is there by right.
    made = images.command.store.glob("**/rootfs-evil")
    assert [path for path in made if path.parent.name != "rootfs"] == []


def test_a_path_too_long_to_be_resolved_as_one_stays_inside(images: Images, canary: Canary) -> None:
    """The shape of CVE-2025-4517: links that multiply until realpath() gives up."""
    component, members, path = "d" * 247, list[bytes](), ""
    for letter in "abcdefghijklmnop":
        members += [tars.directory(path + component), tars.symlink(path + letter, component)]
        path += component + "/"
    short = "/".join("abcdefghijklmnop")
    members += [
        tars.symlink(f"{short}/{'l' * 254}", "../" * 16),
        tars.symlink("escape", f"{short}/{'l' * 254}/../..{canary}"),
        tars.hard_link("stolen", "escape/f"),
        tars.file("stolen", b"evil"),
        tars.file("escape/new", b"evil"),
    ]
    images.either(tars.layer(*members))


def test_a_loop_of_links_is_no_endless_loop(images: Images) -> None:
    images.either(
        tars.layer(
            tars.symlink("a", "b"), tars.symlink("b", "a"), tars.symlink("c", "c/c"),
            tars.file("a/x", b"x"), tars.file("c/x", b"x"),
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (".", b"0"),
        ("./", b"2"),
        ("/", b"2"),
        ("a/..", b"2"),
        ("..", b"1"),
        ("./", b"6"),
        ("", b"2"),
    ],
)
def test_the_root_does_not_become_anything_else(
    images: Images, canary: Canary, name: str, kind: bytes
) -> None:
    entry = tars.header(name, kind, link=str(canary) if kind in b"12" else "")
    images.refused(tars.layer(entry, tars.file("f", b"evil")))


@pytest.mark.parametrize("layers", [1, 2])
def test_a_hard_link_out_of_the_root_gives_no_hold_on_the_host(
    images: Images, canary: Canary, layers: int
) -> None:
    links = [tars.hard_link("out", f"{canary}/f"), tars.hard_link("up", f"{UP}{canary}/f")]
    then = [tars.file("out", b"evil", 0o777), tars.file("up", b"evil")]
    if layers == 1:
        images.either(tars.layer(links[0], then[0]))
        images.either(tars.layer(links[1], then[1]))
    else:
        images.either(tars.layer(links[0]), tars.layer(then[0]))


def test_a_hard_link_through_a_link_gives_no_hold_on_the_host(
    images: Images, canary: Canary
) -> None:
    images.either(
        tars.layer(
            tars.symlink("dir", str(canary)),
            tars.hard_link("stolen", "dir/f"),
            tars.file("stolen", b"evil"),
        )
    )


def test_a_hard_link_to_a_link_is_the_link_itself(images: Images, canary: Canary) -> None:
    """CVE-2021-32760: a mode set on such a name must not reach what it points to."""
    tree = images.tree(
        tars.layer(
            tars.symlink("a", f"{canary}/f"),
            tars.header("b", b"1", link="a", mode=0o4777, mtime=1),
        )
    )
    target = link(f"{canary}/f")
    assert tree == {
        "a": target._replace(same=frozenset("b")),
        "b": target._replace(same=frozenset("a")),
    }


def test_a_file_takes_the_place_of_a_link_and_not_of_its_target(
    images: Images, canary: Canary
) -> None:
    tree = images.tree(
        tars.layer(
            tars.symlink("f", f"{canary}/f"), tars.file("f", b"mine", 0o600),
            tars.symlink("d", str(canary)), tars.directory("d/", 0o711),
            tars.symlink("l", str(canary)), tars.symlink("l", "f"),
            tars.symlink("p", f"{canary}/f"), tars.special("p", b"6"),
        )
    )  # fmt: skip
    assert tree == {"f": file(b"mine", 0o600), "d": directory(0o711), "l": link("f")}


def test_modes_and_times_do_not_follow_a_link_that_replaced_a_directory(
    images: Images, canary: Canary
) -> None:
    """Directories get their modes at the end: by then the name may be something else."""
    images.tree(
        tars.layer(
            tars.directory("d", 0o777), tars.symlink("d", str(canary)),
            tars.directory("e/sub", 0o700), tars.symlink("e", str(canary)),
            tars.directory("a"), tars.symlink("s", "a"), tars.directory("s/sub", 0o777),
            tars.symlink("a", str(canary)),
        ),
        tars.layer(tars.directory("x/sub", 0o777)),
        tars.layer(tars.symlink("x", str(canary))),
    )  # fmt: skip


@pytest.mark.parametrize("target", ["missing", "later", "dir", "dir/missing", "/", "", "self"])
def test_a_hard_link_to_no_file_is_refused(images: Images, target: str) -> None:
    layer = tars.layer(tars.directory("dir"), tars.hard_link("self", target), tars.file("later"))
    if target == "self":
        assert images.either(layer) in (None, {"dir": directory(), "later": file()})
    else:
        assert "self" in images.refused(layer)


@pytest.mark.parametrize("marker", [".wh.f", ".wh..wh..opq", ".wh.sub"])
def test_a_whiteout_through_a_link_stays_inside(
    images: Images, canary: Canary, marker: str
) -> None:
    images.either(
        tars.layer(
            tars.symlink("link", str(canary)),
            tars.symlink("two", "link"),
            tars.symlink("deep/link", f"{UP}{canary}"),
        ),
        tars.layer(*(tars.file(f"{link}/{marker}") for link in ("link", "two", "deep/link"))),
    )


def test_a_whiteout_of_a_link_removes_the_link_alone(images: Images, canary: Canary) -> None:
    tree = images.tree(
        tars.layer(tars.symlink("link", str(canary)), tars.symlink("d/in", "../k"), tars.file("k")),
        tars.layer(tars.whiteout("link"), tars.opaque("d"), tars.opaque("link")),
    )
    assert tree == {"d": directory(), "k": file()}


@pytest.mark.parametrize("marker", [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh..."])
def test_a_whiteout_that_names_no_child_removes_nothing(images: Images, marker: str) -> None:
    lower = tars.layer(tars.file("d/f", b"kept"))
    tree = images.either(lower, tars.layer(tars.file(marker)))
    assert tree in (None, {"d": directory(), "d/f": file(b"kept")})


def test_devices_and_fifos_are_not_made(images: Images) -> None:
    tree = images.tree(
        tars.layer(
            tars.special("null", b"3"), tars.special("disk", b"4"), tars.special("fifo", b"6"),
            tars.file("was", b"x"), tars.special("was", b"6"),
        ),
        tars.layer(tars.file("fifo/now/a/dir")),
    )  # fmt: skip
    assert not any(node.kind.startswith("special") for node in tree.values())
    assert "fifo/now/a/dir" in tree


def test_set_user_id_bits_are_dropped(images: Images) -> None:
    tree = images.tree(
        tars.layer(
            tars.file("su", b"x", 0o4755), tars.file("sg", b"x", 0o2755),
            tars.directory("d", 0o2775), tars.directory("t", 0o1777), tars.hard_link("also", "su"),
        )
    )  # fmt: skip
    assert tree["su"].mode == tree["also"].mode == tree["sg"].mode == 0o755
    assert (tree["d"].mode, tree["t"].mode) == (0o775, 0o1777)


def test_the_completeness_of_a_tree_is_not_the_business_of_the_layer(images: Images) -> None:
    """CVE-2022-36113: a marker that the archive can bring itself, even as a link."""
    tree = images.tree(
        tars.layer(
            tars.symlink("tree.json", "/tmp/x"),
            tars.symlink("../tree.json", "/tmp/x"),
            tars.file("format", b"99"),
        )
    )
    assert tree == {"tree.json": link("/tmp/x"), "format": file(b"99")}
    assert images.command("images").returncode == 0

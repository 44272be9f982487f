"""Layers that are odd but legal: the tree is exactly what the specification says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest

from tests import tars
from tests.images import NAME
from tests.security.conftest import Images
from tests.trees import Node, directory, file, link


def test_a_link_in_the_middle_of_a_path_is_followed_inside_the_root(images: Images) -> None:
    tree = images.tree(
        tars.layer(
            tars.directory("usr/lib"), tars.symlink("lib", "usr/lib"), tars.symlink("abs", "/usr")
        ),
        tars.layer(tars.file("lib/x.so", b"x"), tars.file("abs/lib/y.so", b"y")),
    )
    assert tree == {
        "usr": directory(),
        "usr/lib": directory(),
        "lib": link("usr/lib"),
        "abs": link("/usr"),
        "usr/lib/x.so": file(b"x"),
        "usr/lib/y.so": file(b"y"),
    }


def test_the_target_of_a_hard_link_may_be_absolute(images: Images) -> None:
    tree = images.tree(
        tars.layer(
            tars.file("usr/bin/a", b"a", 0o755),
            tars.hard_link("b", "/usr/bin/a"),
            tars.hard_link("c", "./usr/bin/../bin/a"),
        ),
        tars.layer(tars.hard_link("usr/d", "b")),
    )
    names = {"usr/bin/a", "b", "c", "usr/d"}
    for name in names:
        assert tree[name] == file(b"a", 0o755, *(names - {name}))


def test_one_of_two_linked_names_is_replaced_alone(images: Images) -> None:
    tree = images.tree(
        tars.layer(tars.file("a", b"old"), tars.hard_link("b", "a"), tars.hard_link("c", "a")),
        tars.layer(tars.file("a", b"new"), tars.whiteout("c")),
    )
    assert tree == {"a": file(b"new"), "b": file(b"old")}


def test_every_type_replaces_every_other(images: Images) -> None:
    kinds: dict[str, tuple[Callable[[str], bytes], Node]] = {
        "file": (tars.file, file(b"")),
        "dir": (tars.directory, directory()),
        "link": (lambda name: tars.symlink(name, "/else"), link("/else")),
    }
    pairs = [(old, new) for old in kinds for new in kinds]
    lower = [kinds[old][0](f"{old}-{new}") for old, new in pairs]
    lower += [tars.file(f"dir-{new}/child", b"x") for new in kinds]
    upper = [kinds[new][0](f"{old}-{new}") for old, new in pairs]
    tree = images.tree(tars.layer(*lower), tars.layer(*upper))
    expected = {f"{old}-{new}": kinds[new][1] for old, new in pairs}
    assert tree == {**expected, "dir-dir/child": file(b"x")}


def test_a_file_gives_way_to_a_directory_that_a_later_path_needs(images: Images) -> None:
    tree = images.tree(tars.layer(tars.file("a", b"x")), tars.layer(tars.file("a/b/c", b"y")))
    assert tree == {"a": directory(), "a/b": directory(), "a/b/c": file(b"y")}


def test_the_last_of_several_entries_counts(images: Images) -> None:
    tree = images.tree(
        tars.layer(
            tars.file("f", b"first"), tars.directory("d", 0o700), tars.file("d/x"),
            tars.file("./f", b"second", 0o600), tars.directory("d/", 0o711),
        )
    )  # fmt: skip
    assert tree == {"f": file(b"second", 0o600), "d": directory(0o711), "d/x": file()}


def test_a_directory_that_forbids_writing_is_filled_and_removed(images: Images) -> None:
    closed = tars.layer(
        tars.directory("ro", 0o555), tars.file("ro/f", b"x", 0o444),
        tars.directory("no", 0o000), tars.directory("no/in", 0o000), tars.file("no/in/f", b"y"),
    )  # fmt: skip
    tree = images.tree(closed)
    assert (tree["ro"].mode, tree["no"].mode, tree["no/in"].mode) == (0o555, 0, 0)
    assert tree["no/in/f"] == file(b"y")
    gone = tars.layer(tars.whiteout("ro"), tars.whiteout("no"))
    assert images.tree(closed, gone, name="test:2") == {}
    assert images.command("rmi", NAME, "test:2").returncode == 0
    images.command.assert_no_trees()
    images.command.assert_no_litter()


@pytest.mark.parametrize("mode", [0o000, 0o555, 0o1777, 0o111])
def test_the_root_has_the_mode_that_the_layer_gives_it(images: Images, mode: int) -> None:
    command = images.command
    layers = tars.layer(tars.directory("./", mode), tars.file("./f", b"x"))
    tree = command.accepts(images.layout(layers))
    assert tree == {".": directory(mode), "f": file(b"x")}
    assert command("rmi", NAME).returncode == 0
    command.assert_no_trees()


def test_a_file_that_nobody_may_read_keeps_its_content(images: Images) -> None:
    assert images.tree(tars.layer(tars.file("f", b"x", 0)))["f"] == file(b"x", 0)


def test_owners_are_not_taken_over(images: Images) -> None:
    images.tree(
        tars.layer(
            tars.file("a", uid=12345, gid=12345), tars.file("b", uid=2**31, gid=2**31),
            tars.file("c", uid=-1, gid=-2), tars.file("d", uid=2**62, gid=2**62),
            tars.directory("e", uid=0, gid=2**32),
            tars.pax({"uid": "99999999999999999999", "gid": "-7"}) + tars.file("f"),
        )
    )  # fmt: skip
    place = images.command.path()
    assert {(p.lstat().st_uid, p.lstat().st_gid) for p in place.iterdir()} == {
        (os.geteuid(), os.getegid())
    }


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(images: Images, umask: int) -> None:
    """An open umask must not open directories that only a path implies (CVE-2023-38497)."""
    image = images.layout(tars.layer(tars.file("a/b/f", b"x", 0o666), tars.directory("d", 0o777)))
    result = subprocess.run(
        [
            "sh",
            "-c",
            f'umask {umask:o}; exec "$@"',
            "sh",
            *images.command.words("load", "-i", image),
        ],
        env={**images.command.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    tree = images.command.tree()
    del tree["."]
    assert tree == {
        "a": directory(),
        "a/b": directory(),
        "a/b/f": file(b"x", 0o666),
        "d": directory(0o777),
    }


def test_extended_attributes_are_let_go(images: Images) -> None:
    attributes: dict[str, tars.Name] = {
        "SCHILY.xattr.security.capability": b"\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        "SCHILY.xattr.user.x": b"a\nb=c\0",
        "SCHILY.xattr.user.overlay.opaque": b"y",
        "SCHILY.xattr.trusted.overlay.whiteout": b"y",
        "LIBARCHIVE.xattr.user.y": "eA",
        "SCHILY.acl.access": "user::rwx",
        "RHT.security.selinux": "system_u:object_r:bin_t:s0",
    }
    tree = images.tree(
        tars.layer(
            tars.pax(attributes), tars.file("f", b"x"), tars.pax(attributes), tars.directory("d")
        )
    )
    assert tree == {"f": file(b"x"), "d": directory()}
    for name in ("f", "d"):
        kept = os.listxattr(images.command.path() / name)
        assert not [x for x in kept if x.startswith(("user.", "security.cap", "trusted."))]


def test_names_are_kept_byte_for_byte(images: Images) -> None:
    long = "/".join(["n" * 100] * 3)
    names: list[bytes] = [
        b"caf\xe9", "naïve-日本".encode(), b"new\nline", b"\x1b[31m", b" lead", b"trail ",
        b"back\\slash", b"*", b"a:b", b"c,d", b"'\"", b"-rf", b"%2F", b"\xff\xfe", b"x" * 255,
    ]  # fmt: skip
    tree = images.tree(
        tars.layer(
            *(tars.file(name, name) for name in names),
            tars.pax({"path": f"pax/{long}"}) + tars.file("short", b"p"),
            tars.gnu_name(f"gnu/{long}") + tars.file("short", b"g"),
            tars.header("tail", prefix=b"pre/fix"),
            tars.gnu_name("t" * 300, b"K") + tars.header("link", b"2", link="cut"),
            tars.pax({"linkpath": b"\xe9" * 300}) + tars.header("link2", b"2", link="cut"),
            tars.gnu_name("gnu-loses") + tars.pax({"path": "pax-wins"}) + tars.file("neither"),
            tars.pax({"path": ""}) + tars.file("empty-means-unset"),
        )
    )
    for name in names:
        assert tree[os.fsdecode(name)].content == name
    assert tree[f"pax/{long}"].content == b"p"
    assert tree[f"gnu/{long}"].content == b"g"
    assert (tree["link"], tree["link2"]) == (link("t" * 300), link(b"\xe9" * 300))
    assert {"pre/fix/tail", "pax-wins", "empty-means-unset"} < set(tree)


def test_a_path_is_cleaned_after_extended_headers_had_their_say(images: Images) -> None:
    tree = images.tree(
        tars.layer(
            tars.pax({"path": "../../a//./b/../c"}) + tars.file("x", b"1"),
            tars.gnu_name("/../d/") + tars.header("x", b"5", mode=0o755),
            tars.pax({"comment": "of the commit", "path": "everything"}, b"g"),
            tars.file("e", b"2"),
        )
    )
    assert tree == {"a": directory(), "a/c": file(b"1"), "d": directory(), "e": file(b"2")}


def test_odd_time_stamps_do_no_harm(images: Images) -> None:
    stamps: dict[str, int | bytes] = {
        "minus": -1, "year2242": 2**33, "huge": 2**62, "least": -(2**62), "blank": b"",
        "normal": 1_600_000_000,
    }  # fmt: skip
    texts = ["nan", "inf", "-inf", "-1.5", "1e400", "9" * 400, "1.123456789123", "", "x", "0x10"]
    images.tree(
        tars.layer(
            *(tars.file(name, mtime=stamp) for name, stamp in stamps.items()),
            *(tars.pax({"mtime": text}) + tars.file(f"p{i}") for i, text in enumerate(texts)),
            *(tars.pax({"mtime": text}) + tars.directory(f"d{i}") for i, text in enumerate(texts)),
        )
    )
    top = images.command.path()
    assert (top / "normal").stat().st_mtime == 1_600_000_000
    assert (top / "minus").stat().st_mtime in (-1, 0)
    assert (top / "year2242").stat().st_mtime in (2**33, 2**32 - 1, 2**31 - 1)


def test_old_kinds_of_tar_are_read(images: Images) -> None:
    old = b"\0" * 8
    tree = images.tree(
        tars.layer(
            tars.header("v7", b"\0", magic=old, size=1) + tars.padded(b"x"),
            tars.header("v7dir/", b"\0", magic=old, mode=0o755),
            tars.header("contiguous", b"7", size=1) + tars.padded(b"y"),
            tars.header("gnu", magic=b"ustar  \0", prefix=b"1234567"),
            tars.header("label", b"V"),
            tars.header("spaces", size=b"         1 ", mode=b"   644 ") + tars.padded(b"z"),
        )
    )
    assert tree == {
        "v7": file(b"x"),
        "v7dir": directory(),
        "contiguous": file(b"y"),
        "gnu": file(),
        "spaces": file(b"z"),
    }


def test_a_size_in_base_256_and_a_size_in_pax_are_read(images: Images) -> None:
    base256 = b"\x80" + (5).to_bytes(11, "big")
    tree = images.tree(
        tars.layer(
            tars.file("a", b"12345", size=base256),
            tars.pax({"size": "3"}) + tars.header("b", size=0) + tars.padded(b"123"),
            tars.file("c", b"end"),
        )
    )
    assert tree == {"a": file(b"12345"), "b": file(b"123"), "c": file(b"end")}


def test_links_and_directories_that_state_a_size_have_no_content(images: Images) -> None:
    tree = images.tree(
        tars.layer(
            tars.file("f", b"x"),
            tars.header("h", b"1", link="f", size=700),
            tars.header("s", b"2", link="f", size=700),
            tars.header("d", b"5", size=700, mode=0o755),
            tars.file("g", b"y"),
        )
    )
    assert sorted(tree) == ["d", "f", "g", "h", "s"]

"""flatten writes an image's tree as files for others, the same each time, and import reads them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.building import facts
from tests.containers import Home, Ran, Tar

pytestmark = pytest.mark.once

KINDS = {"dir": "tree", "tar": "t.tar", "tar.zst": "t.tar.zst", "squashfs": "t.squashfs"}
CONFIG = {"Env": ["A=1"], "Entrypoint": ["/bin/x"], "WorkingDir": "/w", "Labels": {"l": "2"}}


@pytest.fixture(scope="module")
def odd(home: Home) -> str:
    """An image with all that is hard to write."""
    deep = "/".join(["directory"] * 20)
    tar = Tar().directory("a", 0o1777).file("a/one", b"1" * 70_000, 0o640)
    tar.link("a/link", "/" + "long" * 50).file(f"{deep}/{'f' * 120}", b"deep")
    tar.file("ünï", b"").file("0", b"secret", 0o000).directory("closed", 0o300)
    tar.file("closed/x", b"x")
    return home.add("odd:flat", tar.bytes(), CONFIG)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, home: Home, odd: str) -> Home:
    """Another store with the same image, made under another umask."""
    archive = tmp_path_factory.mktemp("archive") / "x.tar"
    assert home.call("save", "-o", archive, odd).code == 0
    other = Home(tmp_path_factory.mktemp("other"))
    before = os.umask(0o077)
    try:
        assert other.call("load", "-i", archive).code == 0
    finally:
        os.umask(before)
    return other


def content(path: Path) -> object:
    if path.is_dir():
        return facts(path, times=True)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["tar", "tar.zst", "squashfs"])
def test_another_store_umask_and_locale_give_the_same_bytes(
    home: Home, other: Home, odd: str, tmp_path: Path, kind: str
) -> None:
    one, two = tmp_path / f"one-{KINDS[kind]}", tmp_path / f"two-{KINDS[kind]}"
    assert home.call("flatten", odd, one).text == ""
    environment = {"LC_ALL": "C", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "77"}
    before = os.umask(0o077)
    try:
        assert other.call("flatten", odd, two, environment=environment).text == ""
    finally:
        os.umask(before)
    assert one.read_bytes() == two.read_bytes()
    if kind != "squashfs":
        ran = home.call("flatten", "--format", kind, odd, "-")
        assert (ran.code, ran.out) == (0, one.read_bytes())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_imported_again_is_the_same_tree(
    home: Home, odd: str, tmp_path: Path, kind: str
) -> None:
    target, config = tmp_path / KINDS[kind], tmp_path / "config.json"
    assert home.call("flatten", "--config", config, odd, target).text == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([target.name, "config.json"])
    name = f"again-{kind.replace('.', '-')}:1"
    assert home.call("import", "--config", config, target, name).text.startswith("sha256:")
    whole = home.call("flatten", odd, "-").out
    assert home.call("flatten", name, "-").out == whole
    described = json.loads(home.call("inspect", name).text)[0]["Config"]
    assert {key: value for key, value in described.items() if value} == CONFIG
    assert os.listdir(home.place / "store" / "tmp") == []


def test_the_tar_is_what_others_read(home: Home, odd: str, tmp_path: Path) -> None:
    assert home.call("flatten", odd, tmp_path / "t.tar.zst").text == ""
    assert home.call("flatten", odd, tmp_path / "t.tar").text == ""
    plain = subprocess.check_output(["zstd", "-dcq", tmp_path / "t.tar.zst"])
    assert plain == (tmp_path / "t.tar").read_bytes()
    with tarfile.open(tmp_path / "t.tar") as tar:
        members = {m.name: m for m in tar}
    assert {(m.uid, m.gid, m.uname) for m in members.values()} == {(0, 0, "")}
    assert members["a"].mode == 0o1777 and members["0"].mode == 0
    assert list(members) == sorted(members, key=lambda name: name.encode().split(b"/"))


def complaint(ran: Ran, tmp_path: Path, *kept: str) -> str:
    assert ran.code == 125
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)
    return ran.complaint


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_is_replaced_only_by_force(
    home: Home, odd: str, tmp_path: Path, kind: str
) -> None:
    target = tmp_path / KINDS[kind]
    if kind == "dir":
        target.mkdir()
        (target / "mine").touch()
    else:
        target.write_text("mine")
    before = content(target)
    said = complaint(home.call("flatten", odd, target), tmp_path, target.name)
    assert "is there already; give --force" in said
    assert content(target) == before
    assert home.call("flatten", "--force", odd, target).text == ""
    assert content(target) != before
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


def test_what_cannot_be_written_is_said_in_one_line(home: Home, odd: str, tmp_path: Path) -> None:
    bare = {"PATH": str(tmp_path)}
    said = complaint(home.call("flatten", odd, "/no/such/place.tar"), tmp_path)
    assert "there is no directory /no/such for" in said
    for words, expected in (
        (["--format", "zip", odd, "x"], "--format is 'zip'"),
        (["--format", "dir", odd, "-"], "cannot go to standard output"),
        ([odd], "flatten needs an image and a target"),
    ):
        assert expected in complaint(home.call("flatten", *words), tmp_path)
    if not any(os.path.exists(f"{place}/mksquashfs") for place in ("/usr/sbin", "/sbin")):
        squashed = home.call("flatten", odd, tmp_path / "t.squashfs", environment=bare)
        assert "install squashfs-tools" in complaint(squashed, tmp_path)


def test_a_configuration_that_is_none_is_refused(home: Home, odd: str, tmp_path: Path) -> None:
    tree = tmp_path / "t.tar"
    home.call("flatten", odd, tree)
    for text in ("[]", "{", '{"config": 1}'):
        (tmp_path / "c").write_text(text)
        assert home.call("import", "--config", tmp_path / "c", tree, "no:1").code == 125
    assert home.call("import", "--config", tmp_path / "none", tree, "no:1").code == 125
    assert home.call("inspect", "no:1").code == 1


def test_a_squashfs_that_is_damaged_is_refused_and_leaves_nothing(
    home: Home, odd: str, tmp_path: Path
) -> None:
    target = tmp_path / "t.squashfs"
    home.call("flatten", odd, target)
    target.write_bytes(target.read_bytes()[:600])
    assert "unsquashfs ended with" in home.call("import", target, "no:1").complaint
    assert os.listdir(home.place / "store" / "tmp") == []


def test_a_link_to_where_the_tree_itself_is_stays_inside(home: Home, tmp_path: Path) -> None:
    """Under fakechroot all links to other places of a tree are made so."""
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/real").write_text("found")
    (tmp_path / "alias").symlink_to(tree)
    links = {"own": f"{tree}/etc/real", "alias": f"{tmp_path}/alias/etc", "away": f"{tree}s/etc"}
    for name, target in links.items():
        (tree / "etc" / name).symlink_to(target)
    assert home.call("import", tmp_path / "alias", "linked:1").code == 0
    kept = home.tree("linked:1") / "etc"
    assert {name: os.readlink(kept / name) for name in links} == {
        **{"own": "/etc/real", "alias": "/etc", "away": f"{tree}s/etc"}
    }

"""Two images that have files in common on disk: nothing done in one is seen in the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwl_userspace.store.copy import has_reflinks
from tests import tars
from tests.containers import Box, Home, shell_layer
from tests.images import oci_directory
from tests.trees import Snapshot, snapshot

# Everything that changes a file in place, and what only looks as if it did.
ATTACK = """
for file in /etc/passwd /etc/group /bin/not-executable; do
    echo written >> $file; true > $file; chmod 0777 $file; touch -d 2001-01-01 $file
    chown 12:34 $file; cp /bin/busybox $file; ln $file $file.name; echo more >> $file.name
    mv $file $file.moved; truncate -s 1 $file.moved; rm -f $file.moved
    sed -i s/root/owned/ $file; dd if=/dev/zero of=$file bs=1 count=3 conv=notrunc
done 2> /dev/null
true
"""
State = tuple[Snapshot, dict[str, tuple[int, int]]]


@pytest.fixture(scope="session")
def pair(home: Home) -> tuple[Path, Path]:
    """The trees of an image and of another that extends it, which share files."""
    base = shell_layer().bytes()
    above = tars.layer(tars.file("etc/more", b"of the upper"), tars.file("etc/hosts", b"own"))
    for name, layers in (("pair/lower:1", [base]), ("pair/upper:1", [base, above])):
        place = oci_directory(home.place / name.replace("/", "-"), layers, name=name)
        assert home.call("load", "-i", place).code == 0
    lower, upper = home.tree("pair/lower:1"), home.tree("pair/upper:1")
    same = (lower / "bin/busybox").samefile(upper / "bin/busybox")
    assert same or has_reflinks(str(upper.parent)), "the test is of no use where nothing is shared"
    return lower, upper


def state(tree: Path) -> State:
    places = {str(p): p.lstat() for p in tree.rglob("*")}
    return snapshot(tree), {n: (s.st_mtime_ns, s.st_ctime_ns) for n, s in places.items()}


def check(box: Box, pair: tuple[Path, Path], user: str) -> None:
    lower, upper = pair
    before = state(lower), state(upper)
    assert box.sh(ATTACK, "-u", user, image="pair/upper:1").code == 0
    assert (state(lower), state(upper)) == before


@pytest.mark.every_engine
def test_no_run_as_root_changes_the_other_image(box: Box, pair: tuple[Path, Path]) -> None:
    check(box, pair, "root")


def test_no_run_as_a_user_changes_the_other_image(box: Box, pair: tuple[Path, Path]) -> None:
    check(box, pair, "1234")


def test_no_container_and_no_build_changes_the_other_image(
    home: Home, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    lower, upper = pair
    before = state(lower), state(upper)
    assert home.call("create", "--name", "shares", "pair/upper:1").code == 0
    assert home.call("run", "-u", "root", "shares", "sh", "-c", ATTACK).code == 0
    assert home.call("rm", "shares").code == 0
    (tmp_path / "attack").write_text(ATTACK)
    (tmp_path / "Dockerfile").write_text(
        "FROM pair/upper:1\nCOPY attack /attack\nRUN sh /attack; rm -rf /etc/group /bin/true\n"
    )
    assert home.call("build", "-t", "pair/built:1", tmp_path).code == 0
    assert (state(lower), state(upper)) == before

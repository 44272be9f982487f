"""A store that a group writes: what one member makes another runs and removes, whatever his umask.

Root plays two users of one group. A user without rights is both of them himself, so there only
the modes are seen.
"""

from __future__ import annotations

import os
import signal
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tars
from tests.containers import Home, Ran, shell_layer, waiting
from tests.images import oci_directory

GROUP = 64100 if os.geteuid() == 0 else os.getegid()
ODD = (
    tars.directory("dim", 0o555),
    tars.file("dim/file", b"dim\n", 0o400),
    tars.directory("private", 0o700),
    tars.file("private/file", b"private\n", 0o600),
    tars.directory("sticky", 0o1777),
    tars.file("sticky/file", b"sticky\n"),
    tars.directory("closed", 0),
    tars.file("closed/file", b"closed\n", 0),
    tars.file("program", b"#!/bin/sh\n", 0o700),
    tars.hard_link("other-name", "private/file"),
)
SHOWN = "cat /dim/file /private/file /sticky/file /other-name"


class Member:
    """A user of the group, with a umask that lets nobody see what he makes."""

    def __init__(self, place: Path, uid: int, store: Path) -> None:
        place.mkdir()
        self.home = Home(place)
        self.home.environment["CWL_USERSPACE_HOME"] = str(store)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{uid}:{uid}", place], check=True)
            ids = ("setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={GROUP}")
            self.home.prefix = (*ids, "sh", "-c", 'umask 077; exec "$@"', "sh")
        else:
            self.home.prefix = ("sh", "-c", 'umask 077; exec "$@"', "sh")

    def __call__(self, *words: str | Path) -> Ran:
        return self.home.call(*words)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user of the host can reach."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as path:
        os.chmod(path, 0o755)
        yield Path(path)


@pytest.fixture
def store(place: Path) -> Path:
    """What an admin makes: mkdir, chgrp, chmod 2775."""
    path = place / "store"
    path.mkdir()
    os.chown(path, -1, GROUP)
    path.chmod(0o2775)
    return path


@pytest.fixture
def members(place: Path, store: Path) -> tuple[Member, Member]:
    return Member(place / "one", 64001, store), Member(place / "two", 64002, store)


def image(place: Path, name: str, size: int = 0) -> Path:
    more = tars.layer(*ODD, *(tars.file(f"many/{n}", b"x" * n) for n in range(size)))
    """A tar to import: a shell, what is odd, and many files."""
    path = place / f"{name}.tar"
    base = shell_layer().bytes()
    end = len(base.rstrip(b"\0"))
    path.write_bytes(base[: -(-end // 512) * 512] + more)
    return path


def litter(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "tmp").iterdir())


def test_what_one_member_adds_another_runs_and_removes(
    place: Path, store: Path, members: tuple[Member, Member]
) -> None:
    one, two = members
    assert one("import", image(place, "odd"), "odd").code == 0
    bind = ("-v", f"{place}:/data/deep/er")
    for engine in ("userns", "proot"):
        ran = two("--engine", engine, "run", *bind, "odd", "sh", "-c", SHOWN)
        assert ran.text == "dim\nprivate\nsticky\nprivate\n"
    assert two("run", "odd", "sh", "-c", "/program && echo > /tmp/x && ls /tmp").text == "x\n"
    as_root = "echo more >> /etc/group && rm /private/file && tail -n 1 /etc/group"
    for member in members:
        assert member("run", "-u", "root", "odd", "sh", "-c", as_root).text == "more\n"
    verified = two("verify", "odd")
    assert verified.code == 0, verified
    assert two("import", image(place, "other", size=3), "other").code == 0
    assert two("rmi", "odd").code == 0
    assert [p.name for p in (store / "names").iterdir()] == ["docker.io%2Flibrary%2Fother:latest"]
    assert one("prune", "--all", "--force").code == 0
    for name in ("names", "images", "trees", "tmp", "leases"):
        assert list((store / name).iterdir()) == []


def test_the_owner_and_others_have_the_modes_of_the_image(
    place: Path, store: Path, members: tuple[Member, Member]
) -> None:
    assert members[0]("import", image(place, "odd"), "odd").code == 0
    (tree,) = (store / "trees").glob("*/rootfs")
    modes = {"dim": 0o575, "private": 0o770, "sticky": 0o777, "program": 0o750, "tmp": 0o1777,
             "dim/file": 0o440, "closed/file": 0o440, "closed": 0o570,
             "bin/busybox": 0o755}  # fmt: skip
    found = {name: stat.S_IMODE((tree / name).lstat().st_mode) for name in modes}
    assert found == modes
    assert {path.stat().st_gid for path in (tree, tree / "etc", tree.parent)} == {GROUP}


def test_one_member_is_not_in_the_way_of_another_when_he_is_killed(
    place: Path, store: Path, members: tuple[Member, Member]
) -> None:
    one, two = members
    large = image(place, "large", size=2000)
    process = subprocess.Popen(one.home.command("import", large, "large"), env=one.home.environment)
    for _ in waiting(20):
        if process.poll() is not None or any(store.glob("tmp/*/rootfs/many/*")):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert two("import", image(place, "odd"), "odd").code == 0
    assert two("prune", "--force").code == 0
    assert two("run", "odd", "sh", "-c", SHOWN).code == 0
    # What the other could not look into goes with the next of who made it.
    assert one("import", large, "large").code == 0
    assert litter(store) == []


def test_an_image_that_extends_another_members_is_built(
    place: Path, members: tuple[Member, Member]
) -> None:
    one, two = members
    assert one("import", image(place, "odd"), "odd").code == 0
    (place / "two" / "Dockerfile").write_text("FROM odd\nCOPY Dockerfile /copied\n")
    ran = two("build", "-q", "-t", "more", place / "two")
    assert ran.code == 0, ran
    assert one("run", "more", "sh", "-c", f"{SHOWN}; cat /copied").text.endswith("/copied\n")


def test_what_one_member_has_kept_or_repaired_another_reads(
    place: Path, store: Path, members: tuple[Member, Member]
) -> None:
    one, two = members
    layers = [shell_layer().bytes(), tars.layer(*ODD)]
    mirror = oci_directory(place / "mirror", layers, name="docker.io/library/odd:1")
    config = place / "config.yml"
    config.write_text(
        f"registries: {{docker.io: {{mirrors: ['oci:{mirror}']}}}}\nkeep_blobs: true\n"
    )
    for member in members:
        member.home.environment["CWL_USERSPACE_CONFIG"] = str(config)
    assert one("pull", "odd:1").code == 0
    for path in store.glob("trees/*/rootfs/etc"):
        path.rename(path.parent / "damaged")
    ran = two("verify", "--repair")
    assert ran.code == 0 and b"repaired" in ran.out, ran
    assert one("run", "odd:1", "sh", "-c", SHOWN).code == 0
    (tree,) = store.glob("trees/*")
    assert stat.S_IMODE((tree / "rootfs/private/file").stat().st_mode) == 0o640
    # Without its tree the image is made of the layers that the other has kept.
    tree.rename(place / "gone")
    for path in mirror.glob("blobs/sha256/*"):
        if path.read_bytes().startswith(b"\x1f\x8b"):
            path.unlink()
    ran = one("pull", "odd:1")
    assert ran.code == 0, ran
    kept = [*store.glob("blobs/sha256/*"), *store.glob("images/*")]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o060 for path in kept} == {0o060}


def test_default_acls_of_a_store_do_not_change_the_modes_of_an_image(
    place: Path, store: Path, members: tuple[Member, Member]
) -> None:
    everybody = 0xFFFFFFFF
    entries = [(0x01, 7, everybody), (0x04, 5, everybody), (0x20, 0, everybody)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(store, "system.posix_acl_default", acl)
    assert members[0]("import", image(place, "odd"), "odd").code == 0
    (tree,) = (store / "trees").glob("*/rootfs")
    assert stat.S_IMODE((tree / "bin" / "busybox").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "dim").stat().st_mode) == 0o575
    assert members[1]("run", "odd", "sh", "-c", SHOWN).code == 0

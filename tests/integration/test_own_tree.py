"""Containers with a tree of their own under engines of namespaces: writes stay, ours leave."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import Box, Home, Word, manifest, shell_layer

ENGINES = ("userns", "chroot") if os.geteuid() == 0 else ("userns",)


class Own:
    """A container that was created for one test."""

    def __init__(self, home: Home, engine: str, image: str) -> None:
        self.name = f"own-{uuid.uuid4().hex[:8]}"
        self.box = Box(home, engine)
        self.image = image
        assert home.call("create", "--name", self.name, image).code == 0

    @property
    def tree(self) -> Path:
        return self.box.home.place / "store" / "containers" / self.name / "rootfs"

    def sh(self, script: str, *options: Word) -> str:
        return self.box.sh(script, *options, image=self.name).text


@pytest.fixture(params=ENGINES)
def own(request: pytest.FixtureRequest, home: Home) -> Iterator[Own]:
    made = Own(home, request.param, "busybox")
    yield made
    assert home.call("rm", "-f", made.name).code == 0
    assert not made.tree.exists()


@pytest.mark.parametrize("user", [[], ["-u", "root"]], ids=["self", "root"])
def test_a_run_sees_what_the_one_before_has_written(own: Own, user: list[Word]) -> None:
    before = manifest(own.box.home.tree("busybox"))
    own.sh("mkdir /opt /data/d; echo one > /opt/file; rm -r /home; ln -s /opt/file /l", *user)
    assert own.sh("cat /l; ls -d /home 2>&- || echo gone; echo two >> /l", *user) == "one\ngone\n"
    assert own.sh("cat /opt/file", *user) == "one\ntwo\n"
    assert manifest(own.box.home.tree("busybox")) == before


@pytest.mark.parametrize("user", [[], ["-u", "root"]], ids=["self", "root"])
def test_files_of_ours_are_seen_and_leave_nothing(own: Own, user: list[Word]) -> None:
    (own.tree / "etc" / "hosts").write_text("the image's\n")
    (own.tree / "etc" / "apt" / "apt.conf.d").mkdir(parents=True)
    before = manifest(own.tree)
    script = "cat /etc/hosts; ls /etc/apt/apt.conf.d; echo x > /etc/hosts; cat /etc/resolv.conf"
    seen = own.sh(script, *user, "--add-host", "other:10.0.0.1")
    assert "10.0.0.1\tother" in seen and "the image's" not in seen
    assert ("99cwl-userspace" in seen) == bool(user)
    after = manifest(own.tree)
    for name in ("dev", "proc", "etc", "tmp", "var/tmp", "etc/apt/apt.conf.d", "."):
        place = os.path.normpath(own.tree / name)
        # A directory where something was for a while has another time, and nothing else.
        was, now = before.pop(place), after.pop(place)
        assert (now[0], now[4]) == (was[0], was[4])
    assert after == before


def test_a_run_that_was_killed_leaves_an_empty_file_that_the_next_removes(own: Own) -> None:
    settings = own.tree / "etc" / "apt" / "apt.conf.d"
    settings.mkdir(parents=True)
    process = own.box.start_sh("echo ready; exec sleep 1000", "-u", "root", image=own.name)
    assert [path.stat().st_size for path in settings.iterdir()] == [0]
    process.kill()
    process.wait()
    assert all(path.stat().st_size == 0 for path in settings.iterdir())
    own.sh("true", "-u", "root")
    assert os.listdir(settings) == []
    assert not [name for name in os.listdir(own.tree) if name.startswith(".")]


def test_root_writes_below_directories_that_nobody_may_write(own: Own) -> None:
    own.sh("mkdir -p /closed/deep; chmod 555 /closed/deep /closed; chmod 0 /etc/group")
    script = "echo x > /closed/deep/f; cat /etc/group > /dev/null; mkdir /closed/new; ls /closed"
    assert own.sh(script, "-u", "root") == "deep\nnew\n"
    own.sh("chmod 555 /", "-u", "root")
    assert own.sh("echo fine > /new; cat /new", "-u", "root") == "fine\n"


def test_a_read_only_root_stays_as_it_is(own: Own) -> None:
    before = manifest(own.tree / "data")
    script = "echo x > /data/x || echo no; echo y > /tmp/y; cat /tmp/y"
    ran = own.box.sh(script, "--read-only", image=own.name)
    assert ran.out == b"no\ny\n"
    assert manifest(own.tree / "data") == before


@pytest.mark.parametrize("link", ["{0}", "../../../../../../../..{0}", "/proc/1/root{0}"])
@pytest.mark.parametrize("name", ["tmp", "var", "dev", "proc", "etc", "w", "etc/apt"])
@pytest.mark.parametrize("engine", ENGINES)
def test_hostile_links_of_a_tree_lead_nowhere(
    home: Home, tmp_path: Path, engine: str, name: str, link: str
) -> None:
    target = tmp_path / "target"
    (target / "tmp").mkdir(parents=True)
    (target / "apt.conf.d").mkdir()
    (target / "passwd").write_text("kept\n")
    image = home.add(f"plain-{engine}", shell_layer().bytes())
    own = Own(home, engine, image)
    place = own.tree / name
    if place.is_dir():
        shutil.rmtree(place)
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(link.format(target))
    before = manifest(target)
    options = ["-v", f"{tmp_path}:/{name}/m", "-w", f"/{name}/w", "-u", "0"]
    script = "echo x > made; echo x > /tmp/made; echo x > /var/tmp/made; echo x > /dev/shm/made"
    for given in (options, ["-u", "0"], []):
        own.box.sh(script, *given, image=own.name)
        assert manifest(target) == before
    assert home.call("rm", "-f", own.name).code == 0
    assert manifest(target) == before

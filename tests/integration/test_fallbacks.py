"""The engines on hosts that lack something: older kernels, and containers around us."""

from __future__ import annotations

import copy
import json
import shlex
from pathlib import Path

import pytest

from cwl_userspace.engines.choose import PREFERRED
from tests.containers import (
    Box,
    Home,
    Tar,
    Word,
    all_gone,
    busybox,
    manifest,
    marker,
    shell_layer,
)

CHANGE = "echo x > /etc/passwd; echo x > /data/new; rm -rf /home /bin/wget; chmod 777 /data; true"


def lacking(home: Home, cache: Path, engine: str, **facts: object) -> Box:
    """An engine whose remembered probe of this host is changed."""
    other = copy.copy(home)
    other.environment = {**home.environment, "XDG_CACHE_HOME": str(cache)}
    box = Box(other, engine)
    assert box.run("busybox", "true").text == ""
    (kept,) = cache.rglob(f"probe-{engine}-*.json")
    remembered = json.loads(kept.read_text())
    assert facts.keys() <= remembered["answer"].keys()
    remembered["answer"].update(facts)
    kept.write_text(json.dumps(remembered))
    return box


@pytest.fixture
def no_overlay(home: Home, tmp_path: Path) -> Box:
    """User namespaces before Linux 5.11."""
    return lacking(home, tmp_path / "cache", "userns", overlay=False)


@pytest.fixture
def no_landlock(home: Home, tmp_path: Path) -> Box:
    """proot before Linux 5.6."""
    return lacking(home, tmp_path / "cache", "proot", landlock=0, mode_guard=False)


@pytest.mark.parametrize("target", ["/in", "/a/b/c", "/etc/deep/in", "/tmp/in", "/dev/shm/x"])
def test_without_an_overlay_mount_points_are_made_all_the_same(
    no_overlay: Box, tmp_path: Path, target: str
) -> None:
    (tmp_path / "file").write_text("of the host\n")
    options: list[Word] = ["-v", f"{tmp_path}:{target}", "-v", f"{tmp_path}/file:/etc/group"]
    ran = no_overlay.sh(f"cat {target}/file /etc/group; id -un; pwd", *options, "-w", "/new/dir")
    assert ran.text.splitlines()[:2] == ["of the host"] * 2
    assert ran.text.endswith("\n/new/dir\n")


def test_without_an_overlay_no_root_is_promised(no_overlay: Box) -> None:
    refused = no_overlay.run("-u", "root", "busybox", "true")
    assert refused.code == 125 and "emulated root: no overlay" in refused.complaint
    assert no_overlay.run("-u", "root", "--on-unmet", "warn", "busybox", "true").text == ""


@pytest.mark.parametrize("user", [[], ["-u", "root", "--on-unmet", "warn"], ["-u", "tool"]])
def test_without_an_overlay_the_store_is_not_written(no_overlay: Box, user: list[Word]) -> None:
    tree = no_overlay.home.tree("busybox")
    before = manifest(tree)
    ran = no_overlay.sh(CHANGE + "; mount -o remount,rw /data; rm -f /data/x; echo done", *user)
    assert ran.out == b"done\n"
    assert manifest(tree) == before


def test_without_an_overlay_a_hostile_link_leads_nowhere(no_overlay: Box, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    no_overlay.home.add("led-astray", shell_layer().link("w", str(target)).bytes())
    options = ["-v", f"{tmp_path}:/w/deep", "-w", "/w/other"]
    no_overlay.sh("echo x > /w/made; echo x > made", *options, image="led-astray")
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("link", ["{0}", "../../../../../../../..{0}", "/proc/1/root{0}"])
@pytest.mark.parametrize("name", ["tmp", "var", "dev", "proc", "etc"])
def test_without_an_overlay_a_link_for_a_system_directory_leads_nowhere(
    no_overlay: Box, tmp_path: Path, name: str, link: str
) -> None:
    target = tmp_path / "target"
    (target / "tmp").mkdir(parents=True)
    layer = Tar().directory("bin").file("bin/busybox", busybox(), 0o755)
    layer.link("bin/sh", "busybox").link(name, link.format(target))
    image = no_overlay.home.add("astray", layer.bytes())
    before = manifest(target)
    script = f"for d in /tmp /var/tmp /{name} /dev/shm /w; do echo x > $d/made; done; echo end"
    for options in ([], ["-v", f"{tmp_path}:/{name}/m", "-w", "/w"], ["-w", f"/{name}/w"]):
        ran = no_overlay.sh(script, *options, image=image)
        assert ran.out == b"end\n" or ran.code == 125, ran
        assert manifest(target) == before


def test_without_landlock_the_store_is_not_written(no_landlock: Box) -> None:
    tree = no_landlock.home.tree("busybox")
    before = manifest(tree)
    for user in ([], ["-u", "root"]):
        assert no_landlock.sh(CHANGE + "; echo done", *user).out == b"done\n"
    assert manifest(tree) == before


@pytest.mark.parametrize("option", ["--volume={0}:/in:ro", "--read-only"])
def test_without_landlock_read_only_is_refused_unless_a_warning_will_do(
    no_landlock: Box, tmp_path: Path, option: str
) -> None:
    words = [option.format(tmp_path), "busybox", "echo", "fine"]
    ran = no_landlock.run(*words)
    assert ran.code == 125 and "read-only" in ran.complaint and "--on-unmet" in ran.complaint
    assert no_landlock.run("--on-unmet=warn", *words).text == "fine\n"


@pytest.mark.parametrize("user", [[], ["-u", "root"]])
def test_without_landlock_copies_can_stand_in_for_what_is_read_only(
    no_landlock: Box, tmp_path: Path, user: list[Word]
) -> None:
    there_before = {*no_landlock.home.leftovers}
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "file").write_text("of the host\n")
    (source / "sub" / "more").write_text("more\n")
    (source / "link").symlink_to("sub/more")
    (tmp_path / "single").write_text("single\n")
    (tmp_path / "out").mkdir()
    before = (manifest(tmp_path), manifest(no_landlock.home.tree("busybox")))
    options = ["-v", f"{source}:/in:ro", "-v", f"{tmp_path}/single:/etc/single:ro", "--read-only"]
    script = """cat /in/file /in/link /etc/single; chmod 777 /in /in/file; echo x > /in/file
        touch /in/new /etc/new; rm -r /in/sub; echo x > /etc/single; echo done"""
    words: list[Word] = ["--on-unmet", "copy", *options, *user]
    assert no_landlock.sh(script, *words).out == b"of the host\nmore\nsingle\ndone\n"
    assert (manifest(tmp_path), manifest(no_landlock.home.tree("busybox"))) == before
    written: list[Word] = [*words, "-v", f"{tmp_path}/out:/out"]
    assert no_landlock.sh("cp /in/file /out/", *written).text == ""
    assert (tmp_path / "out" / "file").read_text() == "of the host\n"
    assert no_landlock.run(*words, "busybox", "no-such-program").code == 127
    assert {*no_landlock.home.leftovers} <= there_before


def test_copies_stand_in_for_nothing_else(home: Home, tmp_path: Path) -> None:
    box = lacking(home, tmp_path / "cache", "proot", seccomp=False, mode_guard=False)
    ran = box.run("--on-unmet=copy", "--network=none", "busybox", "true")
    assert ran.code == 125 and "network" in ran.complaint


def test_without_seccomp_a_network_that_is_to_be_off_is_refused(home: Home, tmp_path: Path) -> None:
    box = lacking(home, tmp_path / "cache", "proot", seccomp=False, mode_guard=False)
    ran = box.run("--network=none", "busybox", "true")
    assert ran.code == 125 and "network" in ran.complaint
    assert box.run("busybox", "echo", "fine").text == "fine\n"


def test_without_a_fresh_proc_runs_end_all_the_same(home: Home, tmp_path: Path) -> None:
    box = lacking(home, tmp_path / "cache", "userns", fresh_proc=False)
    word = marker()
    assert box.sh(f"sleep 1000 {word} 2>&- & echo fine").text == "fine\n"
    assert all_gone(word, 1)


def test_auto_takes_another_program_that_may_make_namespaces_before_proot(
    home: Home, tmp_path: Path
) -> None:
    # As AppArmor has it on recent Ubuntu: not every program may, but those that it knows.
    other = copy.copy(home)
    other.environment = {**home.environment, "XDG_CACHE_HOME": str(tmp_path)}
    other.call("doctor", "--offline", "--quick")
    works = {path.name.split("-")[1]: path for path in tmp_path.rglob("probe-*.json")}
    taken = []
    for name in PREFERRED:
        answer = json.loads(works[name].read_text())
        works_here = not answer["answer"]["reason"]
        if works_here:
            shown = other.call("run", "--print-command", "busybox", "true").text
            taken.append(json.loads(shlex.split(shown)[3])["engine"])
            assert taken[-1] == name
            assert Box(other, "auto").sh("echo fine").text == "fine\n"
        answer["answer"]["reason"] = "AppArmor restricts them"
        works[name].write_text(json.dumps(answer))
    assert taken[0] == "userns" and taken[-1] == "proot"
    assert {"bwrap", "runc", "charliecloud"} <= set(taken)
    refused = other.call("run", "busybox", "true")
    assert refused.code == 125 and "bwrap: AppArmor restricts them" in refused.complaint

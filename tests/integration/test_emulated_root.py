"""``-u root``: what needs root to install and make accounts works, as ordinary users run it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import debian
from tests.containers import Box, Home, manifest

ENGINES = ("userns", "proot")
POSTINST = """#!/bin/sh
set -e
groupadd --system --gid 480 served
useradd --system --uid 480 --gid served --home-dir /var/served --create-home served
chown -R served:served /var/served
chown root:adm /opt/served/file
chmod 2750 /opt/served
chgrp served /opt/served
mknod /opt/served/disk b 8 0
mkfifo /opt/served/pipe
install -o served -g served -m 600 /etc/hosts /opt/served/hosts
"""


@pytest.fixture(scope="module")
def system(home: Home) -> Home:
    """A home with a small Debian as an image."""
    home.add("small-debian", debian.image())
    return home


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A repository with one package, whose files have owners and whose script makes accounts."""
    files = {"opt/served/file": 33, "etc/served/mail": 8}
    made = debian.package(tmp_path, "served", {"postinst": POSTINST}, files)
    return debian.repository(tmp_path, made)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mode", ["", ":ro"], ids=["a place to write to", "none"])
def test_apt_gets_and_installs_a_package(
    system: Home, packages: Path, engine: str, mode: str
) -> None:
    script = """set -e
        apt-get update -qq && apt-get install -y -qq served >/dev/null
        dpkg -s served | grep Status; cat /opt/served/file; test -p /opt/served/pipe
        stat -c %a /opt/served; getent passwd served; getent group served"""
    options = ["-u", "root", "-v", f"{packages}:/packages{mode}"]
    ran = Box(system, engine).run(*options, "small-debian", "sh", "-c", script)
    assert ran.code == 0, ran
    assert ran.out.decode().splitlines() == [
        "Status: install ok installed",
        "content",
        "2750",
        "served:x:480:480::/var/served:/bin/sh",
        "served:x:480:",
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_dpkg_installs_and_removes_a_package(system: Home, packages: Path, engine: str) -> None:
    script = """dpkg -i /packages/served_1_all.deb >&2 && dpkg -P served >&2 && echo done
        test -e /opt/served/file || echo gone"""
    options = ["-u", "root", "-v", f"{packages}:/packages"]
    ran = Box(system, engine).run(*options, "small-debian", "sh", "-c", script)
    assert (ran.code, ran.out) == (0, b"done\ngone\n"), ran


@pytest.mark.parametrize(
    "script",
    [
        "useradd -m bob && groupadd team && usermod -aG team bob && id -Gn bob",
        "useradd -m bob && echo bob:secret | chpasswd && passwd -l bob && userdel bob",
        "touch f && chown 1:2 f && chown -h daemon:mail f && chgrp -R games f",
        "setpriv --reuid daemon --regid daemon --clear-groups true",
        "su daemon -s /bin/sh -c true && runuser -u daemon -- true",
        "mkfifo p && test -p p && mknod d c 1 3 && mknod q p && test -p q",
        "install -d -o mail -g mail -m 2775 d && install -o daemon f d 2>&1 || touch f",
        "cd /etc; tar --owner=33 --group=8 -cf /t passwd; tar -C /tmp -xpf /t; cat /tmp/passwd",
        "cp /bin/true /true && setcap cap_net_raw+ep /true && getcap /true | grep cap_net_raw",
        "perl -e '$( = $) = \"5 5 6\"; $< = $> = 7; exit($! ? 1 : 0)'",
    ],
)
def test_programs_that_need_root_succeed(system: Home, script: str) -> None:
    for mount in ([], ["-v", f"{system.place}:/mnt"]):
        options = ["-u", "root", "-w", "/tmp", *mount]
        ran = Box(system, "userns").run(*options, "small-debian", "sh", "-ec", script)
        assert ran.code == 0, (mount, ran)


def test_apts_private_file_is_there_for_root_alone_and_never_in_the_store(system: Home) -> None:
    box = Box(system, "userns")
    listing = ["small-debian", "ls", "/etc/apt/apt.conf.d"]
    before = manifest(system.tree("small-debian"))
    assert box.run("-u", "root", *listing).text == "99cwl-userspace\n"
    assert box.run(*listing).text == box.run("-u", "33", *listing).text == ""
    assert box.run("-u", "root", "busybox", "ls", "/etc").text.split().count("apt") == 0
    assert manifest(system.tree("small-debian")) == before


def test_without_root_the_kernel_still_says_no(system: Home) -> None:
    script = "touch f; chown 1 f; mknod d c 1 3; setpriv --reuid 5 true; echo end"
    ran = Box(system, "userns").run("-u", "1234", "-w", "/tmp", "small-debian", "sh", "-c", script)
    assert ran.out == b"end\n" and ran.err.count(b"\n") == 3, ran

"""The engine ``chroot``: for real root where user namespaces are refused, as in a chroot."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.containers import Box, Home

# What a Python of this host may need; each is bound into the new root.
NEEDED = ("usr", "etc", "root", "home", "work", "opt", "dev", "proc", "tmp", "var", "srv")
AS_ROOT = os.geteuid() == 0

# $0 is a directory, $1 the propagation of the mount that the new root is a part of.
IN_CHROOT = """
mount -t tmpfs tmpfs "$0" && mkdir "$0/root" && mount --make-"$1" "$0" && cd "$0/root"
shift
for name in {needed}; do
    if [ -d /$name ]; then mkdir $name && mount --rbind /$name $name; fi
done
for name in bin sbin lib lib64; do if [ -L /$name ]; then cp -P /$name .; fi; done
exec chroot "$0/root" "$@"
"""


def in_chroot(home: Home, place: Path, words: list[str], shared: bool = False) -> bytes:
    """What our command prints in a chroot whose root is no mount."""
    script = IN_CHROOT.format(needed=" ".join(NEEDED))
    unshare = ["unshare", "-m", "--propagation", "private", "sh", "-ec", script]
    kind = "shared" if shared else "private"
    done = subprocess.run(
        [*unshare, str(place), kind, *(word.decode() for word in home.command(*words))],
        env={**home.environment, "XDG_CACHE_HOME": str(place.parent / f"cache-{kind}")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b""), done
    return done.stdout


if not AS_ROOT:

    def test_others_than_root_are_told_that_it_is_not_for_them(home: Home) -> None:
        ran = home.call("--engine", "chroot", "run", "busybox", "true")
        assert ran.code == 125 and "only root can use it" in ran.complaint


if AS_ROOT:

    def test_it_is_chosen_in_a_chroot_and_runs_there(home: Home, tmp_path: Path) -> None:
        place = tmp_path / "place"
        place.mkdir()
        found = json.loads(in_chroot(home, place, ["doctor", "--json", "--offline", "--quick"]))
        works = {engine["name"]: engine["works"] for engine in found["engines"]}
        assert (works["userns"], works["chroot"], found["engine"]) == (False, True, "chroot")
        script = (
            "echo x > /data/new; chown 33 /data/new; stat -c %u /data/new; id -u; ls /usr || true"
        )
        ran = in_chroot(
            home, place, ["run", "-u", "root", "busybox", "sh", "-c", f"({script}) 2>&1"]
        )
        assert ran == b"33\n0\nls: /usr: No such file or directory\n"
        assert os.listdir(place) == []

    def test_nothing_is_mounted_where_others_would_see_it(home: Home, tmp_path: Path) -> None:
        place = tmp_path / "place"
        place.mkdir()
        found = json.loads(
            in_chroot(home, place, ["doctor", "--json", "--offline", "--quick"], shared=True)
        )
        (chroot,) = (engine for engine in found["engines"] if engine["name"] == "chroot")
        assert not chroot["works"] and "is seen outside of it" in chroot["reason"]

    def test_the_program_is_the_user_that_it_is_told_to_be(home: Home) -> None:
        box = Box(home, "chroot")
        outside = "cat /proc/self/uid_map; id -u; id -g; id -G"
        assert box.sh(outside, "-u", "tool").text.split() == [
            *("0", "0", "4294967295", "1234", "2345", "2345")
        ]
        assert box.sh("echo x > /data/x || echo no", "-u", "tool").out == b"no\n"

    def test_its_root_has_less_than_dockers(home: Home) -> None:
        box = Box(home, "chroot")
        script = """grep CapEff /proc/self/status; mknod /data/disk b 8 0; ls /data
            chroot / true 2>&- || echo no chroot; mount -t tmpfs x /data 2>&- || echo no mount"""
        ran = box.sh(script, "-u", "root")
        assert ran.text == "CapEff:\t00000000a00025fb\nno chroot\nno mount\n"

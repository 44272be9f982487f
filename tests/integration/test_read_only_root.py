"""A root that cannot be written, put together of an image that has much in /etc."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.containers import Box, Home, manifest, shell_layer

FILES = [f"file{number}" for number in range(30)]
# What lies over a store: two overlays, above which the kernel allows no third.
STACK = """
    site=$1
    shift
    mount -t tmpfs none "$TMPDIR"
    for part in a b; do
        mkdir "$TMPDIR/$part"
        cd "$TMPDIR/$part"
        mkdir upper work
        mount -t overlay -o "lowerdir=$site,upperdir=upper,workdir=work" none "$site"
    done
    exec "$@"
"""
LOOK = """
    cd /etc
    cat file3 link sub/file && readlink nowhere && ls | wc -l
    tail -n 1 hosts | cut -f 1 -d ' '
    for d in /etc /etc/sub; do echo x > $d/new; done
    rm -f file3; mv file4 moved; chmod 777 file5; mkdir made; echo x >> passwd; echo x >> file6
    cat file3 file4 && [ ! -x file5 ] && [ ! -e made ] && cat file6"""
SEEN = "file3\nfile7\nbelow\nno/such\n{}\n127.0.0.1\nfile3\nfile4\nfile6\n"


def crowded(*more: str) -> bytes:
    """A layer with many files in /etc, and directories besides."""
    tar = shell_layer().directory("etc/sub").file("etc/sub/file", b"below\n")
    for name in FILES:
        tar.file(f"etc/{name}", f"{name}\n".encode())
    tar.link("etc/link", "file7").link("etc/nowhere", "no/such").link("etc/resolv.conf", "../run/x")
    for name in more:
        tar.directory(name)
    return tar.bytes()


@pytest.fixture(scope="module")
def full(home: Home) -> Home:
    home.add("crowded", crowded())
    return home


def test_all_that_the_image_has_is_there_with_our_files_and_cannot_be_written(
    full: Home, box: Box
) -> None:
    before = manifest(full.tree("crowded"))
    ran = box.sh(f"({LOOK}) 2> /dev/null", "--read-only", image="crowded")
    seen, _, rest = ran.text.partition("no/such\n")
    number, _, rest = rest.partition("\n")
    assert seen + "no/such\n{}\n" + rest == SEEN
    assert int(number) >= len(FILES) + 7  # link, nowhere, sub, passwd, group, hosts, resolv.conf
    assert manifest(full.tree("crowded")) == before


@pytest.mark.parametrize("target", ["/etc/file3", "/etc/new", "/etc/sub/file", "/etc/a/b"])
def test_what_is_mounted_there_is_there(full: Home, tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_text("of the host\n")
    volumes = ["-v", f"{tmp_path}/file:{target}", "-v", f"{tmp_path}:/etc/sub/directory"]
    script = f"cat {target} /etc/sub/directory/file /etc/file9"
    ran = Box(full, "userns").sh(script, "--read-only", *volumes, image="crowded")
    assert ran.text == "of the host\nof the host\nfile9\n"


def test_a_directory_that_stands_where_a_file_of_ours_is_to_be_gives_way(home: Home) -> None:
    home.add("odd", crowded("etc/hosts"))
    ran = Box(home, "userns").sh(
        "grep -c localhost /etc/hosts; cat /etc/file1", "--read-only", image="odd"
    )
    assert int(ran.text.split()[0]) >= 1 and ran.text.endswith("\nfile1\n")


def test_many_files_beside_ours_are_one_mount(full: Home) -> None:
    script = "grep -c ' /etc' /proc/self/mountinfo; cat /etc/file3"
    assert Box(full, "userns").sh(script, "--read-only", image="crowded").text == "1\nfile3\n"


def test_where_the_kernel_lays_no_overlay_over_a_tree_each_file_is_bound(
    full: Home, tmp_path: Path
) -> None:
    site = full.place / "store"
    user = Home(tmp_path)
    user.environment["CWL_USERSPACE_STORE_PATH"] = f":{site}"
    user.prefix = ("unshare", "-Urm", "sh", "-euc", STACK, "sh", str(site))
    box = Box(user, "userns")
    script = "grep -c ' /etc/file' /proc/self/mountinfo; cat /etc/file3; echo x > /etc/new"
    ran = box.sh(script, "--read-only", image="crowded")
    assert ran.out == f"{len(FILES)}\nfile3\n".encode() and b"Read-only" in ran.err
    assert box.sh("true", image="crowded").code == 125, "a third overlay was allowed"

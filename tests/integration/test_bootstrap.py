"""``bootstrap`` has debootstrap's two stages run as an emulated root, and files what they make.

A small program stands where debootstrap is found: it makes a system of one busybox, in the same two
stages and under the same conditions. The real one is run by ``tox -e bootstrap``.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cwl_userspace.bootstrap import archive, tool
from cwl_userspace.errors import EngineError, Offline, UsageError
from cwl_userspace.store.store import Store
from tests.containers import Box, Home, all_gone, marker

_FIRST = r"""#!/bin/sh
set -e
[ "$(id -u)" = 0 ] && [ -r "$DEBOOTSTRAP_DIR/functions" ]
options=
while [ "${1#--}" != "$1" ]; do options="$options $1"; shift; done
suite=$1 target=$2 archive=${3#file://}
grep -q "^Suite: $suite" "$archive/dists/$suite/Release"
mkdir -p "$target/bin" "$target/etc" "$target/debootstrap" "$target/var/lib/apt/lists/partial" \
    "$target/usr/share/base-passwd" "$target/var/cache/apt/archives" "$target/tmp"
cp "$archive/busybox" "$target/bin"
for name in sh id cat chown stat rm ls; do ln -s busybox "$target/bin/$name"; done
echo "root:*:0:0:root:/root:/bin/sh" > "$target/usr/share/base-passwd/passwd.master"
printf 'root:*:0:\nmail:*:8:\n' > "$target/usr/share/base-passwd/group.master"
echo > "$target/var/cache/apt/archives/busybox.deb"
echo "$options" > "$target/etc/options"
chown 0:42 "$target/etc/options"
echo "I: unpacked $suite" >&2
[ "$suite" != slow ] || sleep 1000
[ "$suite" != broken ] || exit 3
host=$(cat "$archive/host")
case $suite in
    leading) rmdir "$target/var/lib/apt/lists/partial" "$target/var/lib/apt/lists" \
        "$target/var/lib/apt" && ln -s "$host" "$target/var/lib/apt" ;;
    astray) mv "$target/etc" "$target/bin/etc" && ln -s "$host" "$target/etc" ;;
esac
cat > "$target/debootstrap/debootstrap" << 'EOF'
#!/bin/sh
set -e
[ "$1 $(id -u)" = "--second-stage 0" ]
chown root:mail /bin/busybox
echo "set up" > /etc/second
rm -r /debootstrap
EOF
chmod 755 "$target/debootstrap/debootstrap"
"""


@pytest.fixture(scope="module")
def place(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with a few suites, and the program in ``usr/sbin``."""
    place = tmp_path_factory.mktemp("bootstrap")
    for suite in ("small", "slow", "broken", "leading", "astray"):
        (place / "archive/dists" / suite).mkdir(parents=True)
        (place / "archive/dists" / suite / "Release").write_text(f"Suite: {suite}\n")
    subprocess.run(["sh", "-c", f"cp $(command -v busybox) {place}/archive"], check=True)
    (place / "host/lists").mkdir(parents=True)
    (place / "host/lists/file").touch()
    (place / "archive/host").write_text(str(place / "host"))
    (place / "usr/share/debootstrap/scripts").mkdir(parents=True)
    (place / "usr/share/debootstrap/functions").touch()
    (place / "usr/sbin").mkdir()
    (place / "usr/sbin/debootstrap").write_text(_FIRST)
    (place / "usr/sbin/debootstrap").chmod(0o755)
    return place


@pytest.fixture
def environment(home: Home, place: Path) -> Iterator[dict[str, str]]:
    """The program first on PATH; afterwards nothing is left of what was begun."""
    yield {"PATH": f"{place}/usr/sbin:{home.environment['PATH']}"}
    assert os.listdir(home.place / "store/tmp") == []
    assert home.leftovers == []


def test_an_image_is_made_as_an_emulated_root_in_two_stages(
    box: Box, place: Path, environment: dict[str, str]
) -> None:
    name = f"me/system:{box.engine}"
    given = ("--mirror", f"{place}/archive", "--include", "khmer,vim", "--include=less")
    ran = box.home.call(
        *("--engine", box.engine, "bootstrap", "-t", name, *given, "--components", "main,contrib"),
        *("--no-check-gpg", "debian:small"),
        environment=environment,
    )
    assert ran.code == 0, ran
    assert ran.out.startswith(b"sha256:") and b"I: unpacked small" in ran.err
    assert box.run(name, "cat", "/etc/second", "/etc/options").text.split() == [
        *("set", "up", "--foreign", "--variant=minbase", "--include=khmer,vim,less"),
        *("--components=main,contrib", "--no-check-gpg"),
    ]
    assert box.run(name, "ls", "/var/cache/apt/archives", "/var/lib/apt/lists").text == (
        "/var/cache/apt/archives:\n\n/var/lib/apt/lists:\n"
    )
    assert box.home.call("inspect", "--format", "{{json .Config.Cmd}}", name).text == (
        '["/bin/sh"]\n'
    )


@pytest.mark.once
def test_what_is_done_is_shown_only_where_it_fails_if_it_is_to_be_quiet(
    home: Home, place: Path, environment: dict[str, str]
) -> None:
    mirror = ("bootstrap", "-q", "--no-check-gpg", "--mirror", f"{place}/archive")
    assert home.call(*mirror, "small", environment=environment).text.startswith("sha256:")
    ran = home.call(*mirror, "broken", environment=environment)
    assert ran.code == 125 and ran.err.startswith(b"I: unpacked broken\n")
    assert b"the packages cannot be unpacked: debootstrap ended with 3" in ran.err
    assert b"no image broken" in home.call("--offline", "run", "broken", "true").err


@pytest.mark.once
@pytest.mark.parametrize(("suite", "code"), [("leading", 0), ("astray", 125)])
def test_no_link_of_a_package_leads_to_the_host(
    home: Home, place: Path, environment: dict[str, str], suite: str, code: int
) -> None:
    """Lists of packages are removed in the end, and accounts are made in between."""
    words = ("bootstrap", "-q", "--no-check-gpg", "--mirror", f"{place}/archive", suite)
    ran = home.call(*words, environment=environment)
    assert ran.code == code, ran
    assert [path.name for path in (place / "host").rglob("*")] == ["lists", "file"]


def test_an_interrupt_ends_it_and_leaves_nothing(
    box: Box, place: Path, environment: dict[str, str]
) -> None:
    word = marker()
    process = subprocess.Popen(
        box.home.command(
            *("--engine", box.engine, "bootstrap", "--no-check-gpg"),
            *("--mirror", f"{place}/archive", "slow"),
        ),
        env={**box.home.environment, **environment, "MARKER": word},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == b"I: unpacked slow\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 130
    assert all_gone(word)


@pytest.mark.once
def test_a_suite_that_the_archive_does_not_have_is_said_before_anything_is_done(
    home: Home, place: Path, environment: dict[str, str]
) -> None:
    said = home.call("bootstrap", "--mirror", f"{place}/archive", "none", environment=environment)
    assert f"file://{place}/archive has no suite 'none'" in said.complaint


@pytest.mark.once
def test_a_mirror_that_nobody_answers_at_is_said(home: Home, environment: dict[str, str]) -> None:
    given = ("bootstrap", "--mirror", "http://127.0.0.1:1/debian", "sid")
    assert "127.0.0.1:1" in home.call(*given, environment=environment).complaint
    assert "must not be asked" in home.call("--offline", *given).complaint
    assert "is no address" in home.call("bootstrap", "--mirror", "ftp:x", "sid").complaint


@pytest.mark.once
def test_without_the_program_and_without_means_to_get_it_it_is_said_what_is_missing(
    tmp_path: Path,
) -> None:
    store = Store(str(tmp_path / "store"))
    with pytest.raises(EngineError, match="no debootstrap here, and no apt-get"):
        tool.fetched(store, {"PATH": str(tmp_path)}, offline=False)
    with pytest.raises(Offline, match="no debootstrap"):
        tool.fetched(store, {"PATH": os.environ["PATH"]}, offline=True)
    assert os.listdir(tmp_path / "store/tmp") == []


@pytest.mark.once
def test_packages_come_from_where_the_host_has_its_own(tmp_path: Path) -> None:
    lists = tmp_path / "sources.list.d"
    lists.mkdir()
    (lists / "debian.sources").write_text(
        "# near by\nTypes: deb deb-src\nURIs: http://mirror/debian/\nSuites: stone stone-updates\n"
        "Components: main\n contrib\nSigned-By: /keys/debian.gpg\n\n"
        "Types: deb\nEnabled: no\nURIs: http://off/debian\nSuites: stone\n"
    )
    (tmp_path / "sources.list").write_text(
        "# deb http://old/debian stone main\n"
        "deb [signed-by=/keys/other.gpg] http://mirror/other/ stone main # ours\n"
        "deb cdrom:[disk]/debian stone main\n"
    )
    etc = str(tmp_path)
    known = archive.Origin(
        "http://mirror/debian", ["stone", "stone-updates"], ["main", "contrib"], "/keys/debian.gpg"
    )
    assert archive.origin("debian", "stone", "", etc) == known
    assert archive.origin("debian", "next", "", etc) == known
    assert archive.origin("other", "stone", "", etc).signed_by == "/keys/other.gpg"
    assert archive.origin("debian", "stone", "https://a.b/c/", etc).uri == "https://a.b/c"
    assert archive.origin("debian", "sid", "", "/nowhere").uri == "http://deb.debian.org/debian"
    with pytest.raises(UsageError, match="nothing says where mint is"):
        archive.origin("mint", "stone", "", etc)


@pytest.mark.once
@pytest.mark.parametrize("text", ["", "debian:", ":", "debian:../x", "a b", "-x"])
def test_a_word_that_names_no_suite_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no suite"):
        archive.parse(text)

"""What a container can see and change of its host: nothing that it was not given."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

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
    waiting,
)

# Everything that could change a tree, on everything in it; run by the host's own Python.
ATTACK = r"""
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
skipped = {"/proc", "/usr", "/lib", "/lib64", "/dev", "/attack.py"}
found = []
for top, names, files in os.walk("/"):
    names[:] = [n for n in names if os.path.join(top, n) not in skipped]
    found += [os.path.join(top, n) for n in (*names, *files)]
found = [p for p in found if p not in skipped] + ["/"]

def write(path, flags, data=b"changed"):
    fd = os.open(path, flags)
    os.write(fd, data)
    os.close(fd)

def xattr(path):
    os.setxattr(path, "user.changed", b"1", follow_symlinks=False)

def by_descriptor(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for change in (lambda: os.fchmod(fd, 0o777), lambda: os.fchown(fd, os.getuid(), -1),
                       lambda: os.utime(fd, (1, 1)), lambda: os.setxattr(fd, "user.fd", b"1"),
                       lambda: libc.fallocate(fd, 0, 0, 1 << 16), lambda: os.ftruncate(fd, 0),
                       lambda: os.chmod(f"/proc/self/fd/{fd}", 0o777),
                       lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_TRUNC)):
            attempt(change)
    finally:
        os.close(fd)

def attempt(change, *words):
    try:
        change(*words)
    except OSError:
        pass

for path in found:
    attempt(os.utime, path, (1, 1))
    attempt(os.chmod, path, 0o777)
    attempt(lambda: os.chown(path, os.getuid(), os.getgid(), follow_symlinks=False))
    attempt(lambda: os.chown(path, 0, 0))
    attempt(lambda: os.utime(path, (1, 1), follow_symlinks=False))
    attempt(xattr, path)
    attempt(by_descriptor, path)
    attempt(write, path, os.O_WRONLY | os.O_APPEND)
    attempt(write, path, os.O_RDWR)
    attempt(write, path, os.O_WRONLY | os.O_TRUNC)
    attempt(os.truncate, path, 3)
    attempt(os.link, path, path + ".link")
    attempt(os.link, path, "/tmp/link" + path.replace("/", "_"))
    attempt(os.symlink, "x", path + "/symlink")
    attempt(os.mkdir, path + "/made")
    attempt(os.mkfifo, path + "/fifo")
    attempt(write, path + "/file", os.O_WRONLY | os.O_CREAT)
    attempt(os.rename, path, path + ".renamed")
    attempt(os.rename, path, "/tmp/renamed" + path.replace("/", "_"))
for path in reversed(sorted(found)):
    attempt(os.unlink, path)
    attempt(os.rmdir, path)
print("attacked", len(found) > 250)
"""
HOSTS_PYTHON: list[Word] = [
    word for path in ("/usr", "/lib", "/lib64") for word in ("-v", f"{path}:{path}:ro")
]
USERS: list[list[Word]] = [[], ["-u", "root"], ["-u", "1234:1234"]]


def rich_layer() -> Tar:
    """A tree with something of every kind to be changed."""
    tar = shell_layer().directory("closed", 0o500).file("closed/file", b"closed", 0o400)
    tar.file("data/file", b"data" * 5000, 0o644).file("data/private", b"private", 0o600)
    tar.file("data/open", b"open", 0o666).directory("data/open-dir", 0o777)
    tar.file("data/open-dir/file", b"inside", 0o666).link("data/link", "file")
    tar.link("data/away", "/etc/passwd").file("data/with space, and ünï", b"odd", 0o664)
    tar.directory("suid").directory("sgid").file("suid/busybox", busybox(), 0o4755)
    tar.file("sgid/busybox", busybox(), 0o2755)
    return tar.directory("var/empty", 0o555)


def test_the_image_has_what_these_tests_need(home: Home) -> None:
    tree = home.tree(home.add("rich", rich_layer().bytes()))
    assert (tree / "data/private").read_bytes() == b"private"
    assert manifest(tree) == manifest(tree) and len(manifest(tree)) > 250


@pytest.mark.every_engine
@pytest.mark.parametrize("user", USERS, ids=["self", "root", "other"])
@pytest.mark.parametrize("options", [[], ["--read-only"]], ids=["plain", "read-only"])
def test_a_tool_that_writes_everywhere_changes_neither_the_store_nor_read_only_sources(
    box: Box, tmp_path: Path, user: list[Word], options: list[Word]
) -> None:
    tree = box.home.tree(box.home.add("rich", rich_layer().bytes()))
    (tmp_path / "attack.py").write_text(ATTACK)
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("kept")
    (source / "dir").mkdir(0o777)
    (source / "link").symlink_to("file")
    before = manifest(tree), manifest(source)
    ran = box.run(
        *HOSTS_PYTHON,
        *("-v", f"{tmp_path}/attack.py:/attack.py:ro", "-v", f"{source}:/in:ro"),
        *("-v", f"{source}/file:/data/covered:ro", *options, *user),
        *("rich", "/usr/bin/python3", "-I", "/attack.py"),
    )
    assert ran.out == b"attacked True\n", ran
    assert manifest(source) == before[1]
    assert manifest(tree) == before[0]


@pytest.mark.parametrize("user", USERS, ids=["self", "root", "other"])
def test_a_run_that_is_killed_in_the_middle_leaves_the_store_as_it_was(
    box: Box, tmp_path: Path, user: list[Word]
) -> None:
    word = marker()
    tree = box.home.tree(box.home.add("rich", rich_layer().bytes()))
    before = manifest(tree)
    script = "echo ready; while :; do (echo x > /etc/new; echo x > /data/file; mkdir /made/$$"
    script += "; chmod 777 /bin /closed; rm -rf /home; mv /etc/passwd /etc/x) 2>&-; done # " + word
    options: list[Word] = [*user, "-v", f"{tmp_path}:/deep/er/mount", "-w", "/new/place"]
    process = box.start_sh(script, *options, image="rich")
    assert manifest(tree) == before
    process.kill()
    process.wait(5)
    assert all_gone(word)
    assert manifest(tree) == before


@pytest.mark.every_engine
def test_secrets_of_the_host_are_not_to_be_seen(box: Box, home: Home) -> None:
    secret = home.place / "home" / "secret"
    secret.write_text("do not tell")
    given = {"TOKEN": "do not tell"}
    script = f"env; cat {secret}; ls {home.place} {Path.home()}; cat /proc/1/environ"
    ran = box.sh(script, environment=given)
    assert b"do not tell" not in ran.out and b"secret" not in ran.out
    assert box.sh("ls /; ls /host* /mnt /sys 2>&1", environment=given).out.count(b"store") == 0


def test_the_variables_of_our_own_processes_are_not_to_be_seen_in_namespaces(home: Home) -> None:
    ran = Box(home, "userns").sh("cat /proc/*/environ", environment={"TOKEN": "do not tell"})
    assert b"do not tell" not in ran.out


@pytest.mark.parametrize("user", USERS, ids=["self", "root", "other"])
def test_processes_of_the_host_are_not_to_be_seen_in_namespaces(
    home: Home, user: list[Word]
) -> None:
    box = Box(home, "userns")
    assert len(box.sh("ls /proc | grep -c '^[0-9]'", *user).text.split()[0]) == 1
    other = subprocess.Popen(["sleep", "1000"])
    try:
        assert box.sh(f"kill -9 {other.pid}", *user).code == 1
        # A kill of all that can be seen ends this container, and nothing else.
        box.sh("kill -9 -1; sleep 1", *user)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_the_keeper_cannot_be_ended_or_traced_from_inside(home: Home) -> None:
    for user in USERS:
        ran = Box(home, "userns").sh(
            "kill -9 1; kill -STOP 1; kill -SEGV 1; ls /proc/1/root/; "
            "cat /proc/1/maps /proc/1/environ; readlink /proc/1/fd/*; echo still here",
            *user,
        )
        assert ran.code == 0 and ran.out.endswith(b"still here\n")
        assert len(ran.out.splitlines()) == 1, ran


@pytest.mark.every_engine
def test_no_variables_value_is_among_the_words_of_any_process(box: Box) -> None:
    word = marker()
    options = ["-e", "SECRET", "--name", f"secret-{box.engine}"]
    script = 'test -n "$SECRET" && echo ready; sleep 1000'
    process = box.start_sh(script, *options, environment={"SECRET": word})
    told = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            told.append(word.encode() in Path(f"/proc/{name}/cmdline").read_bytes())
        except OSError:
            continue
    process.kill()
    process.wait(5)
    assert len(told) > 3 and not any(told)
    assert all_gone(word)


@pytest.mark.every_engine
def test_devices_are_the_harmless_ones(box: Box) -> None:
    names = set(box.run("busybox", "ls", "-A", "/dev").text.split())
    assert {"null", "zero", "full", "random", "urandom", "tty", "shm", "fd", "stdin"} <= names
    allowed = {"ptmx", "pts", "stdout", "stderr", ".cwl-userspace-status"}
    # Only the host's real root may read what /dev/core leads to.
    allowed |= {"core"} if box.engine in ("bwrap", "crun") else set()
    allowed |= {".cwl-userspace-locator"}
    assert names <= allowed | {"null", "zero", "full", "random", "urandom", "tty", "shm", "fd"} | {
        "stdin"
    }
    script = "echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c"
    assert box.sh(script).text.split() == ["3", "3"]
    assert box.sh("mknod /tmp/disk b 8 0 && cat /tmp/disk", "-u", "root").code != 0


def test_open_files_of_the_caller_are_closed(box: Box, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("do not tell")
    with (tmp_path / "secret").open("rb") as file, socket.socket() as other:
        free = fcntl.fcntl(file, fcntl.F_DUPFD, 77)
        held = (file.fileno(), other.fileno(), free)
        for fd in held:
            os.set_inheritable(fd, True)
        process = box.start(
            "busybox", "sh", "-c", f"ls /proc/self/fd; cat <&{free}", close_fds=False, stderr=-3
        )
        out, _ = process.communicate(timeout=30)
        os.close(free)
    # The fourth is the directory that ls reads.
    assert out.split() == [b"0", b"1", b"2", b"3"]


@pytest.mark.every_engine
@pytest.mark.parametrize(
    "link", ["/target", "../../../../../../../../target", "/../../target", "dangling/../../x"]
)
@pytest.mark.parametrize("place", ["", "/deeper/still", "/file"])
def test_a_mount_through_a_hostile_link_leaves_the_host_alone(
    box: Box, home: Home, tmp_path: Path, link: str, place: str
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").write_text("kept")
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_text("source")
    text = link.replace("/target", str(target), 1) if "target" in link else link
    image = f"hostile-{box.engine}"
    home.add(image, shell_layer().link("w", text).link("etc/hosts", f"{target}/file").bytes())
    before = manifest(target)
    given = source / "f" if place == "/file" else source
    ran = box.run("-v", f"{given}:/w{place}", "-w", "/w", image, "sh", "-c", "echo x > /w/made")
    assert manifest(target) == before, ran
    assert "made" not in os.listdir(tmp_path)


def test_accounts_of_an_image_are_never_read_from_the_host(box: Box, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("trap:x:5555:5555::/trap:/bin/sh\n")
    layer = Tar().directory("etc").directory("bin").file("bin/busybox", busybox(), 0o755)
    layer.link("etc/passwd", str(tmp_path / "passwd")).link("etc/group", "../../../etc/group")
    box.home.add(f"trap-{box.engine}", layer.bytes())
    ran = box.run("-u", "trap", f"trap-{box.engine}", "/bin/busybox", "true")
    assert ran.code == 125 and "no user" in ran.complaint


@pytest.mark.parametrize("name", ["dev", "proc", "etc", "tmp"])
def test_a_link_in_place_of_a_system_directory_leaves_the_host_alone(
    box: Box, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    layer = Tar().directory("bin").file("bin/busybox", busybox(), 0o755).link(name, str(target))
    image = box.home.add(f"link-{name}-{box.engine}", layer.bytes())
    ran = box.run(image, "/bin/busybox", "sh", "-c", f"echo x > /{name}/x; echo fine")
    # Where the link goes through itself there is nothing to be made of it.
    assert ran.out == b"fine\n" or "symbolic links" in ran.complaint, ran
    assert os.listdir(target) == []


def test_links_in_a_circle_are_refused_in_one_line(box: Box) -> None:
    layer = shell_layer().link("a", "b").link("b", "a").link("c", "c/d")
    image = box.home.add(f"circle-{box.engine}", layer.bytes())
    for place in ("/a", "/c", "/a/x", "/c/d/e"):
        for options in (["-w", place], ["-v", f"/etc:{place}"], ["-v", f"/etc/passwd:{place}/f"]):
            ran = box.run(*options, image, "true")
            assert ran.code == 125 and "symbolic links" in ran.complaint


@pytest.mark.every_engine
def test_setuid_programs_give_nothing(box: Box) -> None:
    box.home.add("rich", rich_layer().bytes())
    script = "/suid/busybox id -u; /sgid/busybox id -g; grep NoNewPrivs /proc/self/status"
    ran = box.sh(script, image="rich")
    uid, gid, _, no_new = ran.text.split()
    assert (int(uid), int(gid), no_new) == (os.geteuid(), os.getegid(), "1")


@pytest.mark.parametrize("user", [[], ["-u", "root"]], ids=["self", "root"])
def test_settings_of_the_hosts_kernel_cannot_be_changed(box: Box, user: list[Word]) -> None:
    # Opening says enough: nothing is written.
    places = "/proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/vm/drop_caches"
    script = f"for p in {places}; do (exec 3>>$p) 2>&- && echo open: $p; done; echo done"
    assert box.sh(script, *user).out == b"done\n"


@pytest.mark.parametrize("user", USERS, ids=["self", "root", "other"])
def test_root_inside_has_few_powers(home: Home, user: list[Word]) -> None:
    ran = Box(home, "userns").sh(
        "mount -t tmpfs x /tmp && echo mounted; umount /dev && echo unmounted;"
        "hostname changed && echo named; chroot / true; swapoff -a; ip link add x type dummy"
        " && echo linked; grep CapBnd /proc/self/status",
        *("--network=none", *user),
    )
    assert len(ran.out.splitlines()) == 1, ran
    bound = int(ran.out.split()[-1], 16)
    assert bound & (1 << 21 | 1 << 19 | 1 << 12 | 1 << 16 | 1 << 17) == 0


def test_input_cannot_be_pushed_into_the_callers_terminal(home: Home) -> None:
    # A session of its own has no controlling terminal to push into (CVE-2017-5226).
    for engine in ("userns", "proot"):
        assert Box(home, engine).sh("(true < /dev/tty) 2>/dev/null && echo has").out == b""


def test_the_stored_tree_can_be_removed_after_all_this(home: Home) -> None:
    name = home.add("gone", rich_layer().file("only", b"here").bytes())
    tree = home.tree(name)
    assert home.call("rmi", name).code == 0
    for _ in waiting(2):
        if not tree.exists():
            return
    raise AssertionError("the tree is still there")


def test_a_signal_to_the_group_of_the_run_leaves_nothing_of_it(box: Box) -> None:
    word = marker()
    process = box.start_sh(f"echo ready; exec sleep 1000 # {word}")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(5)
    assert all_gone(word)

"""The keeper refuses changes to a protected tree and lets the rest happen, under proot too."""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cwl_userspace.engines.locator import locator_program
from cwl_userspace.guard import Guard
from cwl_userspace.kernel import modeguard, seccomp, syscalls
from tests.unit.forked import NOBODY, in_child, reachable

PROOT = shutil.which("proot") or "proot"
LOCATOR_FD = 4
# A proot that is accelerated sees the calls after the guard, one that is not before it.
WAYS = {
    "plain": [],
    "slow proot": [PROOT, "-r", "/"],
    "slow proot as root": [PROOT, "-0", "-r", "/"],
    "any proot": [PROOT, "-r", "/"],
    "any proot as root": [PROOT, "-0", "-r", "/"],
}
GUEST = """
import json, os, sys
tree, out = sys.argv[1:]
file, inside = tree + "/file", os.open(tree + "/file", os.O_RDONLY)
other = os.open(out + "/file", os.O_RDONLY)
os.symlink(file, out + "/link")
here = os.open(tree, os.O_RDONLY)
attempts = [
    ("chmod", file, 0o600), ("chmod", inside, 0o600), ("chmod", tree + "/sub", 0o700),
    ("chmod", "/proc/self/fd/%d" % inside, 0o600), ("chmod", out + "/link", 0o600),
    ("utime", file), ("utime", inside), ("utime", "/dev/fd/%d" % inside),
    ("chown", file, -1, -1), ("chown", inside, -1, -1), ("lchown", file, -1, -1),
    ("setxattr", file, "user.a", b"x"), ("setxattr", inside, "user.a", b"x"),
    ("removexattr", file, "user.a"),
    ("chmod", out + "/file", 0o640), ("chmod", other, 0o604), ("utime", out + "/file", (1, 2)),
    ("lchown", out + "/link", -1, -1), ("chown", other, -1, -1),
    ("chmod", out + "/missing", 0o600), ("chmod", "", 0o600), ("chmod", 99, 0o600),
]
outcome = []
def attempt(name, *words, **more):
    try:
        getattr(os, name)(*words, **more)
        outcome.append(0)
    except OSError as error:
        outcome.append(error.errno)
for words in attempts:
    attempt(*words)
attempt("chmod", "file", 0o600, dir_fd=here)
attempt("utime", "file", dir_fd=here)
attempt("utime", out + "/link", (3, 4), follow_symlinks=False)
os.chdir(tree)
attempt("chmod", "file", 0o600)
os.chdir(out)
attempt("chmod", "file", 0o606)
print(json.dumps(outcome))
"""
REFUSED, DONE = [errno.EROFS], [0]
EXPECTED = (
    REFUSED * 14 + DONE * 5 + [errno.ENOENT, errno.ENOENT, errno.EBADF] + REFUSED * 2 + DONE
    + REFUSED + DONE
)  # fmt: skip


def kept(
    protected: tuple[str, ...],
    child: Callable[[], object],
    locator: dict[str, bool] | None = None,
    patience: float = 10.0,
) -> int:
    """Run *child* under the filter and be its keeper; its exit status."""
    guard = Guard(protected, locator, patience)
    pid = os.fork()
    if pid == 0:
        try:
            syscalls.set_no_new_privs()
            seccomp.install(seccomp.untranslated_paths(os.uname().machine))
            guard.install()
            for socket in guard.inherited:
                os.dup2(socket, LOCATOR_FD)
            child()
        finally:
            os._exit(99)
    guard.adopt(pid)
    for socket in guard.inherited:
        os.close(socket)
    poll = select.poll()
    poll.register(guard.listener, select.POLLIN)
    while (events := poll.poll(20_000)) and events[0][1] & select.POLLIN:
        guard.answer()
    os.close(guard.listener)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def too_old() -> bool:
    """Whether this kernel does not hand calls to another process."""
    try:
        in_child(lambda: kept((), lambda: os._exit(0)))
    except (OSError, AssertionError, ValueError):
        return True
    return False


pytestmark = pytest.mark.skipif(too_old(), reason="no seccomp notifications here")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A tree to protect and one beside it; nobody owns both."""
    reachable(tmp_path)
    for part in ("tree", "tree/sub", "beside"):
        (tmp_path / part).mkdir()
    for part in ("tree", "beside"):
        (tmp_path / part / "file").write_text(part)
    if os.geteuid() == 0:
        for path in tmp_path.rglob("*"):
            os.chown(path, NOBODY, NOBODY)
    return tmp_path


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("plain_user", [False, True])
def test_a_protected_tree_keeps_its_modes_and_times(
    place: Path, way: str, plain_user: bool
) -> None:
    # a plain user may not be able to run the interpreter of these tests
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    located = way.startswith("any")
    program = place / "locator"
    program.write_bytes(locator_program(os.uname().machine, LOCATOR_FD))
    program.chmod(0o755)
    through = [str(program)] if located else []
    locator = {"forgive": "root" in way} if located else None
    command = [*WAYS[way], *through, python, "-c", GUEST, f"{place}/tree", f"{place}/beside"]

    def run() -> None:
        if not located:
            os.environ["PROOT_NO_SECCOMP"] = "1"
        output = os.open(f"{place}/beside/output", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.execv(command[0], command)

    before = [os.lstat(path) for path in sorted((place / "tree").rglob("*"))]
    status = in_child(lambda: kept((f"{place}/tree",), run, locator), plain_user=plain_user)
    after = [os.lstat(path) for path in sorted((place / "tree").rglob("*"))]
    assert status == 0
    assert json.loads((place / "beside" / "output").read_text()) == EXPECTED
    for old, new in zip(before, after, strict=True):
        assert (old.st_mode, old.st_mtime_ns, old.st_ctime_ns) == (
            new.st_mode,
            new.st_mtime_ns,
            new.st_ctime_ns,
        )
    beside = os.stat(place / "beside" / "file")
    assert (beside.st_mode & 0o777, beside.st_mtime) == (0o606, 2)
    assert os.lstat(place / "beside" / "link").st_mtime == 4


def test_a_neighbour_whose_name_only_starts_alike_is_not_protected(place: Path) -> None:
    neighbour = place / "tree-like"
    neighbour.mkdir()
    status = in_child(lambda: kept((f"{place}/tree",), lambda: neighbour.chmod(0o700)))
    assert (status, neighbour.stat().st_mode & 0o777) == (99, 0o700)


def test_a_locator_that_says_nothing_stalls_its_keeper_but_once(place: Path) -> None:
    """Each signal has the kernel tell of a call again, so there is no end of calls meanwhile."""

    def calls() -> None:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.siginterrupt(signal.SIGALRM, False)
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        numbers = []
        for name in ("beside", "beside/file"):
            try:
                (place / name).chmod(0o700)
            except OSError as error:
                numbers.append(error.errno)
        os._exit(0 if numbers == [errno.EIO, errno.EIO] else 1)

    def silent() -> None:
        os.write(LOCATOR_FD, struct.pack("=q", os.getpid()))
        pid = os.fork()
        if pid == 0:
            calls()
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    assert in_child(lambda: kept((f"{place}/tree",), silent, {"forgive": True}, 0.5)) == 0


def test_special_bits_can_be_set_elsewhere(place: Path) -> None:
    file = place / "beside" / "file"
    in_child(lambda: kept((f"{place}/tree",), lambda: file.chmod(0o1755)))
    assert file.stat().st_mode & 0o7777 == 0o1755


def test_a_pointer_to_nowhere_is_a_bad_address(place: Path) -> None:
    chmod = syscalls.numbers(os.uname().machine)["fchmodat"]

    def child() -> None:
        try:
            syscalls.syscall(chmod, syscalls.AT_FDCWD, 8, 0o600)
        except OSError as error:
            os._exit(error.errno or 0)

    assert in_child(lambda: kept((f"{place}/tree",), child)) == errno.EFAULT


def test_without_its_keeper_a_call_fails(place: Path) -> None:
    file = place / "beside" / "file"

    def child() -> int:
        syscalls.set_no_new_privs()
        os.close(modeguard.install())
        with pytest.raises(OSError) as caught:
            file.chmod(0o600)
        return caught.value.errno or 0

    assert in_child(child) == errno.ENOSYS

"""The guards together with a real proot: what leaks without them, and that it does not with them.

A file seen through a bind stands for a file of the rootfs: the host has nothing at its path.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cwl_userspace.engines.proot_loader import loaders
from cwl_userspace.kernel import landlock, seccomp

PROOT = shutil.which("proot") or "proot"

GUARDED = """
import os, sys
from cwl_userspace.kernel import landlock, seccomp, syscalls
for word in sys.argv[1].split():
    if word.startswith("/"):
        landlock.restrict_writes(word.split(":"))
    else:
        syscalls.set_no_new_privs()
        seccomp.install(getattr(seccomp, word)(os.uname().machine))
os.execv(sys.argv[2], sys.argv[2:])
"""
LOOK = """
import os, sys
from cwl_userspace.kernel import syscalls
number = syscalls.numbers(os.uname().machine)
path, space = os.fsencode(sys.argv[1]), syscalls.buffer(bytes(256))
calls = {
    "statx": (-100, path, 0, 0, space),
    "openat2": (-100, path, bytes(24), 24),
    "faccessat2": (-100, path, 0, 0x200),
    "fchmodat2": (-100, path, 0o600, 0),
    "open_tree": (-100, path, 0),
    "file_getattr": (-100, path, space, 24, 0),
    "getxattrat": (-100, path, 0, b"user.x", space, 16),
}
for name, words in calls.items():
    try:
        syscalls.syscall(number[name], *words)
        print(name, "seen")
    except OSError as error:
        print(name, os.strerror(error.errno))
print("stat", os.stat(path).st_size)
"""


def run(guards: str, proot: list[str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run *command* under proot, with *guards* put on first."""
    words = [sys.executable, "-c", GUARDED, guards, PROOT, "-r", "/", *proot, *command]
    return subprocess.run(words, capture_output=True, text=True)


@pytest.fixture
def hidden(tmp_path: Path) -> tuple[list[str], str]:
    """proot's words for a bind, and a path that only the guest of that bind has."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("twelve bytes")
    (tmp_path / "target").mkdir()
    return ["-b", f"{tmp_path}/source:{tmp_path}/target"], f"{tmp_path}/target/file"


@pytest.mark.skipif(not seccomp.available(), reason="no seccomp filters here")
def test_no_call_looks_past_proot(hidden: tuple[list[str], str]) -> None:
    bind, path = hidden
    unguarded = run("", bind, sys.executable, "-c", LOOK, path)
    assert unguarded.stdout.endswith("stat 12\n"), unguarded.stderr
    guarded = run("untranslated_paths", bind, sys.executable, "-c", LOOK, path)
    lines = guarded.stdout.splitlines()
    assert lines.pop() == "stat 12", guarded.stderr
    assert {line.partition(" ")[2] for line in lines} == {"Function not implemented"}


@pytest.mark.skipif(not seccomp.available(), reason="no seccomp filters here")
def test_everyday_programs_work_with_the_filter(tmp_path: Path) -> None:
    script = f"""set -e; cd {tmp_path}
        mkdir -p a/b; echo x > a/b/f; chmod 640 a/b/f; mv a/b/f a/g; cp -a a c; ls -l c/g
        mv -n c d; find d -name g; tar cf t.tar d; tar tf t.tar; test -r t.tar; [ -x /bin/sh ]
        ln -s a l; ln a/g h; install -m 700 a/g i; touch -d 2001-01-01 i; stat -c %a i
        rm -rf a d; {sys.executable} -c "
import os, shutil, subprocess, threading
assert os.stat('/').st_mode and os.access('/etc/passwd', os.R_OK)
shutil.copytree('{tmp_path}', '/{tmp_path}/copy', symlinks=True, ignore_dangling_symlinks=True)
thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()
print(subprocess.run(['echo', 'child'], stdout=subprocess.PIPE).stdout.decode())"
    """
    ran = run("untranslated_paths", [], "/bin/bash", "-c", script)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split()[-4:] == ["d/g", "700", "thread", "child"]
    assert ran.stderr == ""


@pytest.mark.skipif(not seccomp.available(), reason="no seccomp filters here")
def test_threads_share_their_directory_and_undumpable_programs_go_on(tmp_path: Path) -> None:
    script = f"""
import os, threading
from cwl_userspace.kernel import syscalls
syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
thread = threading.Thread(target=os.chdir, args=("{tmp_path}",)); thread.start(); thread.join()
print(os.getcwd())
"""
    ran = run("untranslated_paths", [], sys.executable, "-c", script)
    assert ran.stdout == f"{tmp_path}\n", ran.stderr


@pytest.mark.skipif(landlock.abi() < 3, reason="no Landlock here, or an early one")
@pytest.mark.parametrize("identity", [[], ["-0"]])
def test_a_guest_writes_only_where_it_may(
    tmp_path: Path, identity: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in loaders(Path(PROOT).read_bytes()).items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o555)
        monkeypatch.setenv(name, str(tmp_path / name))  # proot could not write its own
    for part in ("kept", "open"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "file").write_text(part)
    script = f"""cd {tmp_path}
        echo x >> open/file && mv open/file open/moved && echo fine
        echo x >> kept/file; true > kept/file; rm kept/file; mkdir kept/new; mv kept/file open/
        ln kept/file open/link; ln -s x kept/link; mv open/moved kept/; rm -rf kept
        ls kept; cat kept/file"""
    guards = f"untranslated_paths {tmp_path}/open:/dev/null"
    ran = run(guards, identity, "/bin/sh", "-c", script)
    assert ran.stdout == "fine\nfile\nkept", ran.stderr


@pytest.mark.skipif(not seccomp.available(), reason="no seccomp filters here")
def test_a_guest_without_network_finds_none() -> None:
    script = "import socket; socket.socketpair(); socket.create_connection(('127.0.0.1', 9))"
    ran = run("untranslated_paths no_network", [], sys.executable, "-c", script)
    assert "Network is unreachable" in ran.stderr

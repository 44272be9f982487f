"""Runs on kernels that lack the newer system calls: a filter around the whole command says so.

The filter answers ENOSYS, as an older kernel does, to what is in CALLS; every newer call that
our own code makes must be there.
"""

from __future__ import annotations

import ast
import copy
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import cwl_userspace
from cwl_userspace.kernel.numbers import numbers
from tests.containers import ENGINES, Box, Home, Ran, Word, manifest

# Each call, the kernel that first has it, and its number where our own table has none
# (x86_64, aarch64). The second half is what the C library tries first.
CALLS = {
    "seccomp": ("3.17", None),
    "memfd_create": ("3.17", (319, 279)),
    "pidfd_open": ("5.3", None),
    "pidfd_getfd": ("5.6", None),
    "openat2": ("5.6", None),
    "mount_setattr": ("5.12", None),
    "landlock_create_ruleset": ("5.13", None),
    "landlock_add_rule": ("5.13", None),
    "landlock_restrict_self": ("5.13", None),
    "renameat2": ("3.15", None),
    "getrandom": ("3.17", (318, 278)),
    "copy_file_range": ("4.5", (326, 285)),
    "statx": ("4.11", None),
    "clone3": ("5.3", None),
    "close_range": ("5.9", (436, 436)),
    "faccessat2": ("5.8", None),
    "fchmodat2": ("6.6", None),
}
LANDLOCK = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
# They came together, or are the C library's to do without.
GROUPS = {
    "none": (),
    **{call: (call,) for call in list(CALLS)[:6]},
    "landlock": LANDLOCK,
    "libc": tuple(list(CALLS)[9:]),
    "all": tuple(CALLS),
}
# What Python's os makes a call of that an older kernel may lack.
IN_OS = {
    "memfd_create": "memfd_create",
    "pidfd_open": "pidfd_open",
    "copy_file_range": "copy_file_range",
    "splice": "splice",
    "eventfd": "eventfd",
    "preadv": "preadv2",
    "pwritev": "pwritev2",
    "getrandom": "getrandom",
    "P_PIDFD": "pidfd_open",
}
FILTERED = """
import os, struct, sys
from cwl_userspace.kernel import syscalls
code = bytes.fromhex(sys.argv[1])
syscalls.set_no_new_privs()
syscalls.install_filter(code)
os.execv(sys.argv[2], sys.argv[2:])
"""
SCRIPT = (
    "cat /in/file; id -u; echo x > /out/made; touch -d 2001-01-01 /out/made; chmod 600 /out/made"
)


def number(call: str) -> int:
    own = CALLS[call][1]
    machine = os.uname().machine
    return own[machine == "aarch64"] if own else numbers(machine)[call]


def missing(calls: tuple[str, ...]) -> str:
    """A filter in hexadecimal that answers ENOSYS to these calls."""
    instruction = struct.Struct("=HBBI").pack
    code = instruction(0x20, 0, 0, 0)
    for call in calls:
        code += instruction(0x15, 0, 1, number(call)) + instruction(0x06, 0, 0, 0x50000 | 38)
    return (code + instruction(0x06, 0, 0, 0x7FFF0000)).hex()


def run(box: Box, calls: tuple[str, ...], *words: Word) -> Ran:
    """``run`` with all that it probes and starts below the filter."""
    command = box.home.command(*box.words(*words))
    done = subprocess.run(
        [sys.executable, "-c", FILTERED, missing(calls), *command],
        env=box.home.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=45,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(params=ENGINES)
def old(request: pytest.FixtureRequest, home: Home, tmp_path: Path) -> Box:
    """An engine whose probes remember nothing from newer kernels."""
    other = copy.copy(home)
    other.environment = {**home.environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return Box(other, request.param)


@pytest.mark.parametrize("calls", GROUPS.values(), ids=GROUPS)
def test_containers_run_where_a_newer_call_is_missing(
    old: Box, tmp_path: Path, calls: tuple[str, ...]
) -> None:
    tree = old.home.tree("busybox")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("fine\n")
    (tmp_path / "out").mkdir()
    before = (manifest(tree), manifest(tmp_path / "in"))
    options: list[Word] = ["-v", f"{tmp_path}/in:/in:ro", "-v", f"{tmp_path}/out:/out"]
    ran = run(old, calls, *options, "busybox", "sh", "-c", SCRIPT)
    refused = old.engine == "proot" and {*LANDLOCK} & {*calls}
    if refused:
        assert ran.code == 125 and "Landlock" in ran.complaint
        assert "--on-unmet" in ran.complaint
        options += ["--on-unmet", "copy"]
        ran = run(old, calls, *options, "busybox", "sh", "-c", SCRIPT)
    assert ran.text == f"fine\n{os.geteuid()}\n"
    made = os.stat(tmp_path / "out" / "made")
    assert (made.st_mode & 0o777, made.st_mtime < 980_000_000) == (0o600, True)
    script = "echo x > /in/file; echo x > /in/new; rm -f /etc/passwd /bin/wget; exit 3"
    assert run(old, calls, *options, "busybox", "sh", "-c", script).code == 3
    assert (manifest(tree), manifest(tmp_path / "in")) == before


def test_every_newer_call_that_is_made_here_is_tested() -> None:
    newer = {name for name, value in numbers("x86_64").items() if value >= 424} | {"seccomp"}
    made: set[str] = set()
    for path in Path(cwl_userspace.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("number_of"):
                made |= {ast.literal_eval(node.args[0])} & newer
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "os"
                and node.attr in IN_OS
            ):
                made.add(IN_OS[node.attr])
    assert {"pidfd_open", "openat2", "memfd_create", "mount_setattr"} <= made
    assert made <= {*CALLS}

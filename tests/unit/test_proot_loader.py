"""The loader is cut out of a proot program whole."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cwl_userspace.engines.proot_loader import loaders
from cwl_userspace.engines.status import status_program

pytestmark = pytest.mark.once

PROOT = shutil.which("proot") or "proot"


def test_an_elf_inside_a_program_is_found_with_its_exact_size() -> None:
    inner = status_program("x86_64")
    inner = inner[:40] + len(inner).to_bytes(8, "little") + inner[48:]  # e_shoff: at its end
    program = status_program("aarch64") + b"\x7fELF text" + inner + b"\x7fELF\2\1\1" + bytes(99)
    assert loaders(program) == {"PROOT_LOADER": inner}


def test_a_program_that_carries_none_gives_none() -> None:
    assert loaders(b"") == {}
    assert loaders(status_program("x86_64")) == {}
    assert loaders(status_program("x86_64") + b"\x7fELF") == {}


def test_proot_runs_with_its_own_loader_and_writes_nothing(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"]}
    for name, content in loaders(Path(PROOT).read_bytes()).items():
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o555)
        environment[name] = str(path)
    assert "PROOT_LOADER" in environment
    listing = [PROOT, "-r", "/", "/bin/sh", "-c", "ls -d /tmp/prooted-* 2>&-; echo ran"]
    ran = subprocess.run(listing, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    own = [line for line in ran.stdout.splitlines() if f"-{os.getpid()}" in line]
    assert (own, ran.stdout.splitlines()[-1]) == ([], "ran")

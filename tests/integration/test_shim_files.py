"""``cwl-userspace shim``: the executables that it writes work wherever they are called from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cwl_userspace
from tests.containers import Home
from tests.docker import Shims

TOP = Path(cwl_userspace.__file__).parent.parent


def test_an_executable_needs_no_environment_at_all(home: Home, tmp_path: Path) -> None:
    shims = Shims(home, tmp_path)
    assert shims.docker("--version", environment={}).text.startswith("Docker version 28.")
    assert shims.docker("--version", name="podman", environment={}).text.startswith("podman ver")


def test_a_directory_of_any_name_will_do(home: Home, tmp_path: Path) -> None:
    shims = Shims(home, tmp_path / "a b'c\"d$e\\f\n`g` é")
    assert shims.docker("version", "--format", "{{.Client.Version}}").text.startswith("28.")


def test_the_printed_line_puts_them_first_on_path(home: Home, tmp_path: Path) -> None:
    place = tmp_path / "with ' and space"
    said = home.call("shim", "docker", "--dir", place).out
    script = 'eval "$1"; command -v docker'
    found = subprocess.check_output(["sh", "-c", script, "sh", said], env=home.environment)
    assert os.fsdecode(found).rstrip("\n") == str(place / "docker")


def test_no_module_of_the_caller_is_imported(home: Home, tmp_path: Path) -> None:
    """Where a tool may write, and who starts a workflow may have set anything for its Python."""
    shims = Shims(home, tmp_path / "shims")
    for name in ("json.py", "os.py", "cwl_userspace.py", "sitecustomize.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from here')\n")
    hostile = {**shims.environment, "PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path)}
    ran = shims.docker("version", "--format", "json", environment=hostile, cwd=tmp_path)
    assert '"Client"' in ran.text


def test_what_is_not_ours_stays_unless_forced(home: Home, tmp_path: Path) -> None:
    other = tmp_path / "docker"
    other.write_text("#!/bin/sh\necho another docker\n")
    refused = home.call("shim", "podman", "docker", "--dir", tmp_path)
    assert refused.code == 125 and "not ours" in refused.complaint
    assert other.read_text().endswith("another docker\n") and not (tmp_path / "podman").exists()
    assert home.call("shim", "docker", "--dir", tmp_path, "--force").code == 0
    assert b"cwl-userspace" in other.read_bytes()
    assert home.call("shim", "docker", "--dir", tmp_path).code == 0


def test_a_link_is_replaced_and_not_what_it_leads_to(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "docker").symlink_to(target)
    assert home.call("shim", "docker", "--dir", tmp_path).code == 125
    assert home.call("shim", "docker", "--dir", tmp_path, "--force").code == 0
    assert target.read_text() == "precious" and not (tmp_path / "docker").is_symlink()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["docker"], "--dir"),
        (["docker", "--dir", "one:two"], "colon"),
        (["dokcer", "--dir", "place"], "known are docker, podman"),
        (["--dir", "place"], "known are docker, podman"),
        (["docker", "--dir", "/proc/no-such"], "cannot be made"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_sentence(
    home: Home, tmp_path: Path, words: list[str], said: str
) -> None:
    refused = home.call("shim", *words, cwd=tmp_path)
    assert refused.code == 125 and said in refused.complaint
    assert list(tmp_path.iterdir()) == []


def test_an_environment_that_was_moved_takes_its_executables_along(
    home: Home, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    subprocess.check_call([sys.executable, "-m", "venv", "--without-pip", first])
    words = [str(first / "bin" / "python"), "-m", "cwl_userspace", "shim", "docker", "--dir"]
    subprocess.check_call([*words, first / "shims"], cwd=TOP, env=home.environment)
    subprocess.check_call([*words, tmp_path / "outside"], cwd=TOP, env=home.environment)
    first.rename(second)
    assert b"Docker" in subprocess.check_output([second / "shims" / "docker", "-v"], env={})
    lost = subprocess.run([tmp_path / "outside" / "docker", "-v"], env={}, capture_output=True)
    assert lost.returncode == 125 and b"no longer at" in lost.stderr

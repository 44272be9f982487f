"""Limits by cgroup v2, on a kernel of their own that has given its controllers to nobody else.

It is a user-mode Linux (package user-mode-linux), an ordinary program that needs no rights.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.containers import Home, shell_layer

pytestmark = pytest.mark.once

PACKAGE = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each case of tests/guest.py has found."""
    program = shutil.which("linux.uml")
    assert program, "these tests need the package user-mode-linux"
    place = tmp_path_factory.mktemp("guest")
    # The guest keeps its store in memory, so it gets no more than it needs.
    home = Home(tmp_path_factory.mktemp("home-of-guest"))
    home.add("busybox", shell_layer().bytes())
    command = Path(sys.executable).with_name("cwl-userspace")
    start = place / "start"
    words = [sys.executable, "-m", "tests.guest", home.place / "store", command]
    line = " ".join(f"'{word}'" for word in words)
    start.write_text(f"#!/bin/sh\ncd '{PACKAGE}' && PYTHONDONTWRITEBYTECODE=1 exec {line}\n")
    start.chmod(0o755)
    options = ["rootfstype=hostfs", "ro", "mem=512M", f"init={start}", "quiet"]
    options += ["con=null", "con0=fd:0,fd:1", f"umid={place.name}", f"uml_dir={place}"]
    done = subprocess.run(
        [program, *options],
        env={**os.environ, "TMPDIR": str(place)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert found, done.stdout[-2000:]
    result: dict[str, dict[str, Any]] = json.loads(found[0].removeprefix("RESULT "))
    assert "error" not in result, done.stdout[-2000:]
    return result


@pytest.mark.timeout(330)
@pytest.mark.parametrize("case", ["root", "escaped", "alone"])
def test_the_kernel_kills_all_that_take_too_much_together(
    cases: dict[str, dict[str, Any]], case: str
) -> None:
    found = cases[case]
    assert found["code"] == 137, found
    assert "--memory 40.0 MiB" in found["err"] and found["err"].count("cwl-userspace:") == 1
    assert found["left"] == []


@pytest.mark.timeout(330)
def test_a_part_of_a_processor_is_held_exactly(cases: dict[str, dict[str, Any]]) -> None:
    found = cases["slowed"]
    assert found["code"] == 124, found
    # What the shell says of its own time, user and system, of six seconds.
    minutes, _, seconds = found["out"].split()[0].removesuffix("s").partition("m")
    assert minutes == "0" and 0.5 < float(seconds) < 2.5, found


@pytest.mark.timeout(330)
def test_a_cgroup_of_the_containers_own_is_used_and_old_ones_are_removed(
    cases: dict[str, dict[str, Any]],
) -> None:
    found = cases["swept"]
    assert found["code"] == 0, found
    assert "/delegated/cwl-userspace-" in found["out"]
    assert found["left"] == []

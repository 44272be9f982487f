"""The path of a run on a cached image stays short: no second interpreter, no heavy import."""

from __future__ import annotations

import subprocess
import sys

from tests.containers import Home
from tests.test_architecture import HEAVY

SHOW_MODULES = """
import sys
from cwl_userspace.cli import main
code = main(["--engine", "userns", "run", "busybox", "true"])
print(code, *sorted(sys.modules))
"""


def test_a_cached_run_imports_nothing_heavy(home: Home) -> None:
    assert home.call("--engine", "userns", "run", "busybox", "true").text == ""
    done = subprocess.run(
        [sys.executable, "-c", SHOW_MODULES],
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    code, *modules = done.stdout.split()
    assert code == "0", done
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"],
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    ours = {name.partition(".")[0] for name in set(modules) - set(bare.stdout.split())}
    assert ours & set(HEAVY) == set()


def test_userns_starts_no_second_interpreter(home: Home) -> None:
    """execve is called once for us and once for the program."""
    command = ["strace", "-f", "-qq", "-e", "trace=execve", "-e", "status=successful"]
    words = [word.decode() for word in home.command("--engine", "userns", "run", "busybox", "true")]
    done = subprocess.run(
        [*command, *words], env=home.environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done
    assert done.stderr.count("execve(") == 2, done.stderr

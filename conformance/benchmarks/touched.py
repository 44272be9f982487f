"""Count what a container's start asks of the shared store, with trees on a local disk and without.

usage: python -m conformance.benchmarks.touched IMAGE [COMMAND...]

IMAGE is in the store; COMMAND is ``python3 -c 'import json, ssl'`` if not given. strace(1) follows
one run of each kind with the engine userns after another that has warmed all up. A call counts for
the shared store if it names a path there by our processes, or any path by the tool while its tree
is the shared one: what the tool opens below its root is then a file of the shared file system.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

_CALL = re.compile(r'^\d+ +(\w+)\((?:AT_FDCWD, |\d+, )?"([^"]*)"')
_PRIVATE = ("/proc", "/dev", "/sys", "/tmp")


class Touched(NamedTuple):
    """How many calls named a file of the shared store, and how many different ones were opened."""

    calls: int
    opened: int


def touched(trace: str, store: str, tree: str) -> Touched:
    """What a trace asks of the shared store; ``tree`` is where the run's tree is."""
    shared = tree.startswith(store + "/")
    inside = False
    counted: Counter[str] = Counter()
    opened = set()
    for line in trace.splitlines():
        inside = inside or "pivot_root" in line
        found = _CALL.match(line)
        if not found:
            continue
        call, path = found.groups()
        ours = path.startswith(store + "/")
        tools = inside and shared and path.startswith("/") and not path.startswith(_PRIVATE)
        if ours or tools:
            counted[call] += 1
            if call in ("open", "openat", "execve") and "= -1" not in line:
                opened.add(path)
    return Touched(sum(counted.values()), len(opened))


def run(command: list[str], local: str) -> str:
    """The trace of one run, the second of two."""
    environment = {**os.environ, "CWL_USERSPACE_LOCAL_STORE": local}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory) / "trace"
        words = ["strace", "-f", "-qq", "-s", "4096", "-e", "trace=%file", "-o", str(trace)]
        subprocess.run([*words, *command], check=True, env=environment, stdout=subprocess.DEVNULL)
        return trace.read_text(errors="replace")


def main() -> None:
    """Print both counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("image")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    ours = shutil.which("cwl-userspace") or sys.exit("cwl-userspace is not on PATH")
    inspected = [ours, "inspect", "-p", arguments.image]
    tree = subprocess.run(inspected, check=True, capture_output=True, text=True).stdout.strip()
    store = tree.rsplit("/trees/", 1)[0]
    words = arguments.command or ["python3", "-c", "import json, ssl"]
    command = [ours, "--engine", "userns", "run", arguments.image, *words]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as local:
        for name, place, root in (("shared", "", tree), ("local", local, local)):
            count = touched(run(command, place), store, root)
            print(f"tree on {name} disk: {count.calls:6} calls, {count.opened:5} files opened")


if __name__ == "__main__":
    main()

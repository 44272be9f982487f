"""Time the start of ``true`` in a container, side by side with the bare interpreter and peers.

usage: python -m conformance.benchmarks.startup [--runs N] IMAGE

IMAGE is in the store and has /bin/true.

Every command is run in turn, N times over, so that a drift of the machine meets them all; the
median of each is printed with its ratio to ``python3 -c pass`` of the same environment.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time


def commands(image: str, tree: str) -> dict[str, list[str]]:
    """What to time: ours with each engine, and whatever peers are installed."""
    ours = shutil.which("cwl-userspace") or sys.exit("cwl-userspace is not on PATH")
    found = {
        "true, no container": ["true"],
        "python3 -c pass": [sys.executable, "-c", "pass"],
        "ours, userns": [ours, "--engine", "userns", "run", image, "true"],
    }
    # The same store beneath one that has nothing; env(1) costs a millisecond of its own.
    beneath = f"CWL_USERSPACE_STORE_PATH=/nonexistent/store:{tree.rsplit('/trees/', 1)[0]}"
    found["ours, image beneath"] = ["env", beneath, *found["ours, userns"]]
    if shutil.which("proot"):
        found["ours, proot"] = [ours, "--engine", "proot", "run", image, "true"]
        found["proot alone"] = ["proot", "-r", tree, "-b", "/proc", "-b", "/dev", "/bin/true"]
    if shutil.which("bwrap"):
        binds = ["--ro-bind", tree, "/", "--proc", "/proc", "--dev", "/dev"]
        found["bwrap alone"] = ["bwrap", *binds, "--unshare-all", "/bin/true"]
    if shutil.which("podman") and _answers(["podman", "image", "exists", image]):
        found["podman run"] = ["podman", "run", "--rm", image, "true"]
    if shutil.which("udocker") and _answers(["udocker", "inspect", image]):
        found["udocker run"] = ["udocker", "-q", "run", "--nobanner", "--rm", image, "true"]
    return found


def _answers(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


def measure(table: dict[str, list[str]], runs: int) -> dict[str, float]:
    """The median of each command in seconds, over interleaved runs after one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in table}
    for turn in range(runs + 1):
        for name, command in table.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("image")
    parser.add_argument("--runs", type=int, default=20)
    arguments = parser.parse_args()
    inspected = ["cwl-userspace", "inspect", "-p", arguments.image]
    tree = subprocess.run(inspected, check=True, capture_output=True, text=True).stdout.strip()
    medians = measure(commands(arguments.image, os.path.realpath(tree)), arguments.runs)
    bare = medians["python3 -c pass"]
    for name, seconds in sorted(medians.items(), key=lambda item: item[1]):
        print(f"{name:<22} {1000 * seconds:8.1f} ms   {seconds / bare:6.2f} x bare Python")


if __name__ == "__main__":
    main()

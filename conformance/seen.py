"""What a check of a cluster waits for, and which processes of its jobs there are."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from conformance.problem import Problem

PATIENCE = 60.0


def stubborn(word: str) -> list[str]:
    """A tool that says ``ready``, ignores SIGTERM and has a child in another session; its processes
    have a word in their arguments."""
    loop = "trap '' TERM; while :; do sleep 1; done"
    script = f"trap '' TERM; setsid sh -c \"{loop}\" {word}-child & echo ready; {loop}"
    return ["sh", "-c", script, word]


def until(so: Callable[[], object]) -> bool:
    """Wait for that to be so; False where it takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def processes_with(word: str) -> list[int]:
    """The processes of all nodes that have a word in their arguments: nodes hide nothing here."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


def output_of(*words: str) -> str:
    """What a command prints; raise Problem where it fails."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE * 2)
    if done.returncode != 0:
        raise Problem(f"{' '.join(words)} ended with {done.returncode}", done.stderr.strip()[-300:])
    return done.stdout

"""A store of its own for a trial, the commands that use it, and what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

from conformance.problem import Problem

# Kind, mode, and the content's digest or a link's target, by path.
Tree = dict[str, tuple[str, int, str]]


class Trial:
    """A store below a directory, and our command with everything that it keeps there."""

    def __init__(self, top: Path, name: str = "store") -> None:
        self.top = top
        self.store = top / name
        self.phases = top / "phases"
        (top / "home").mkdir(exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CWL_USERSPACE", "XDG_"))}
        self.environ = {
            **kept,
            "HOME": str(top / "home"),
            "CWL_USERSPACE_HOME": str(self.store),
            "CWL_USERSPACE_PHASES": str(self.phases),
        }

    def start(self, *words: str, node: str = "") -> subprocess.Popen[str]:
        """Start our command, on a node of its own if that is named: a host name, process ids."""
        command = [sys.executable, "-m", "cwl_userspace", *words]
        if node:
            alone = ["unshare", "--user", "--map-root-user", "--uts", "--pid", "--fork"]
            script = 'hostname "$0" && exec "$@"'
            command = [*alone, "--mount-proc", "sh", "-c", script, node, *command]
        return subprocess.Popen(
            command,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *words: str) -> str:
        """Run our command to its end; what it prints. Raise Problem where it fails."""
        with self.start(*words) as process:
            out, err = process.communicate(timeout=300)
        if process.returncode or err:
            raise Problem(
                f"cwl-userspace {' '.join(words)} ends with {process.returncode}: {err.strip()}",
                "this is what must not happen",
            )
        return out

    def listing(self, name: str) -> list[str]:
        """What is in a directory of the store."""
        try:
            return sorted(os.listdir(self.store / name))
        except FileNotFoundError:
            return []

    def settle(self, patience: float = 300.0) -> None:
        """Wait until all trees are on disk, so that no process syncs any more."""
        deadline = time.monotonic() + patience
        while any("unsynced" in os.listdir(tree) for tree in (self.store / "trees").glob("*")):
            if time.monotonic() > deadline:
                raise Problem("a tree is still not synced", "see who should do so: its mark")
            time.sleep(0.01)

    def check_whole(self, expected: Tree) -> int:
        """Raise Problem for a tree or an image that can be seen and is not whole; how many are."""
        chains = self.listing("trees")
        for chain in chains:
            if contents(self.store / "trees" / chain / "rootfs") != expected:
                raise Problem(f"the tree {chain} is not whole", "this is what must not happen")
        for name in self.listing("names"):
            entry = json.loads((self.store / "names" / name).read_bytes())
            json.loads((self.store / "images" / f"{entry['image'][7:]}.json").read_bytes())
        return len(chains)


def contents(top: Path) -> Tree:
    """Every name below a directory with its kind, mode and content."""
    found: Tree = {}
    for directory, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            mode = stat.S_IMODE(status.st_mode)
            relative = os.path.relpath(path, top)
            if stat.S_ISLNK(status.st_mode):
                found[relative] = ("link", 0, os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                found[relative] = ("directory", mode, "")
            else:
                content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
                found[relative] = ("file", mode, content)
    return found

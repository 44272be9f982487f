"""A load of which one system call fails, or at which it is killed: strace(1) sees to it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests import tars
from tests.command import Command
from tests.images import oci_directory
from tests.trees import Snapshot, snapshot

LAYERS = [
    tars.layer(
        tars.directory("d", 0o750), tars.file("d/f", b"x" * 3000), tars.hard_link("h", "d/f"),
        tars.symlink("l", "h"), tars.directory("closed", 0o555), tars.file("closed/g", b"g", 0o600),
    ),
    tars.layer(tars.whiteout("d/f"), tars.file("closed/new", b"y"), tars.opaque("none")),
]  # fmt: skip
KILL = "signal=KILL"


class Fault(NamedTuple):
    """The ``when``-th call of a thread to ``call`` does ``what``: ``error=ENOSPC``, ``KILL``."""

    call: str
    what: str
    when: int


class Outcome(NamedTuple):
    """How a load ended; ``hit`` is the call that was made to fail, as strace shows it."""

    code: int
    said: str
    hit: str


class Trial:
    """A store of its own for each fault, and the tree that an undisturbed load makes."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._image = oci_directory(top / "image", LAYERS)
        self._count = 0
        self.expected: Snapshot = self._fresh().accepts(self._image)

    def _fresh(self) -> Command:
        self._count += 1
        place = self._top / str(self._count)
        place.mkdir()
        return Command(place)

    def first(self, call: str) -> int:
        """Which call of a kind is the first that is about the store or the image; 0 for none."""
        never = Fault(call, "error=EIO", 65535)
        command, _ = self.load(never)
        lines = (command.top / "strace").read_text(errors="replace").splitlines()
        counts: dict[str, int] = {}
        for line in lines:  # calls are counted for each thread
            thread, _, rest = line.partition(" ")
            if rest.lstrip().startswith(f"{call}("):
                counts[thread] = counts.get(thread, 0) + 1
                if os.fspath(self._top) in rest:
                    return counts[thread]
        return 0

    def load(self, fault: Fault) -> tuple[Command, Outcome]:
        """Load with a fault into a new store."""
        command = self._fresh()
        log = command.top / "strace"
        inject = f"inject={fault.call}:{fault.what}:when={fault.when}"
        result = subprocess.run(
            ["strace", "-f", "-y", "-o", str(log), "-e", f"trace={fault.call}", "-e", inject,
             *command.words("load", "-i", self._image)],
            env={**command.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=400,
            check=False,
        )  # fmt: skip
        lines = log.read_text(errors="replace").splitlines()
        marks = "(INJECTED)", "+++ killed by SIGKILL +++"
        hits = [n for n, line in enumerate(lines) if any(mark in line for mark in marks)]
        hit = ""
        if hits:
            first = hits[0]
            hit = lines[first - 1] if "killed" in lines[first] and first else lines[first]
        return command, Outcome(result.returncode, result.stderr.decode(errors="replace"), hit)

    def judge(self, fault: Fault) -> Outcome:
        """Load with a fault; whatever became of it, the store is whole and serves the next."""
        command, outcome = self.load(fault)
        about = (fault, outcome)
        self.assert_whole(command, about)
        if outcome.code == 0:
            assert command.tree() == self.expected, about
        elif fault.what != KILL and self._is_ours(command, outcome.hit):
            assert outcome.code == 125, about
            assert outcome.said.startswith("cwl-userspace: "), about
            assert outcome.said.count("\n") == 1, about
            if "ENOSPC" in fault.what:
                assert "no space left" in outcome.said.lower(), about
            assert command.listing("tmp") == [], about
        again = command.load(self._image)
        assert (again.returncode, again.stderr) == (0, b""), (about, again)
        assert command.tree() == self.expected, about
        self.assert_whole(command, about)
        command.assert_no_litter()
        return outcome

    def assert_whole(self, command: Command, about: object) -> None:
        """What can be seen is complete: PUB-50."""
        trees = command.listing("trees")
        for chain in trees:
            found = snapshot(command.store / "trees" / chain / "rootfs")
            assert found == self.expected, about
        for name in command.listing("names"):
            named = json.loads((command.store / "names" / name).read_bytes())["image"][7:]
            record = json.loads((command.store / "images" / f"{named}.json").read_bytes())
            assert record["chain"].removeprefix("sha256:") in trees, about

    def _is_ours(self, command: Command, hit: str) -> bool:
        """False where Python itself or a library could not start: they say so in their own way."""
        theirs = "AT_FDCWD" in hit or ".so>" in hit
        return os.fspath(command.store) in hit or not theirs

"""Kill pulls and prunes with SIGKILL at any moment, and look at the store after each.

usage: python -m conformance.store.crashes [--kills N] [--least N] [--seed N] [--place DIR]

The processes say by CWL_USERSPACE_PHASES what they are at, so that each kill is counted for the
phase that it hit; the next one is aimed at the phase with the fewest. After each kill what can be
seen in the store must be whole and the next pull must succeed; at the end prune must leave what a
store has that nobody ever disturbed. Ends with 1 where a phase was hit less than ``--least`` times.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from conformance.problem import Problem
from conformance.store import sample
from conformance.store.served import serving
from conformance.store.stores import Tree, Trial, contents
from cwl_userspace.store.diskuse import disk_use
from cwl_userspace.store.phases import SYNC

# A download goes on while its layer is extracted; what is hit then counts as a download.
PHASES = ("publish", "prune", "download", "extract", SYNC)
_PAUSE = 0.0005


class Killer:
    """A store that is disturbed again and again, and how often each phase was hit."""

    def __init__(self, trial: Trial, image: str, expected: Tree, seed: int) -> None:
        self._trial = trial
        self._image = image
        self._expected = expected
        self._chance = random.Random(seed)
        # How long each phase takes, as far as is known: where in it to hit.
        self._lengths = dict.fromkeys(PHASES, 0.02)
        self.hits: Counter[str] = Counter()
        self.kills = 0

    def kill_once(self) -> None:
        """Start a command, kill it in the phase that was hit least, and look at the store."""
        aim = min(PHASES, key=lambda name: self.hits[name])
        trial = self._trial
        here = bool(trial.listing("trees"))
        if aim == "prune" and not here:
            trial.call("pull", self._image)
        elif aim != "prune" and here:
            trial.call("prune", "--all", "--force", "--quiet")
        trial.settle()
        words = ("prune", "--all", "--force") if aim == "prune" else ("pull", self._image)
        self.hits[self._hit_sync() if aim == SYNC else self._hit(aim, words)] += 1
        self.kills += 1
        trial.check_whole(self._expected)
        trial.call("pull", self._image)
        if trial.check_whole(self._expected) != 1:
            raise Problem("a pull has left no tree", "this is what must not happen")

    def _hit(self, aim: str, words: tuple[str, ...]) -> str:
        """Kill the command some time after the phase has begun; the phase that it was in."""
        log = self._trial.phases
        log.write_text("")
        with self._trial.start(*words) as process:
            while process.poll() is None and not _reached(aim, log.read_text()):
                time.sleep(_PAUSE)
            begun = time.monotonic()
            end = begun + self._chance.uniform(0, 1.1) * self._lengths[aim]
            while process.poll() is None and time.monotonic() < end:
                time.sleep(_PAUSE)
            process.kill()
            process.communicate()
        phase = _open(log.read_text())
        if phase == aim:  # it lasts longer than it was thought to, or shorter
            self._lengths[aim] = max(self._lengths[aim] * 1.1, time.monotonic() - begun)
        else:
            self._lengths[aim] = max(self._lengths[aim] * 0.8, 0.002)
        return phase

    def _hit_sync(self) -> str:
        """Kill the process that a pull leaves behind, which syncs its tree."""
        log = self._trial.phases
        log.write_text("")
        with self._trial.start("pull", self._image) as process:
            while "+sync" not in (said := log.read_text()) and not process.poll():
                time.sleep(_PAUSE)
            if process.poll():
                raise Problem("a pull fails that nothing disturbs", "this is what must not happen")
            begun = time.monotonic()
            end = begun + self._chance.uniform(0, 1.1) * self._lengths[SYNC]
            while _open(log.read_text()) == SYNC and time.monotonic() < end:
                time.sleep(_PAUSE)
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(said[: said.index(" +sync")].split()[-1]), signal.SIGKILL)
            phase = _open(log.read_text())
            self._lengths[SYNC] = max(time.monotonic() - begun, 0.002)
            if process.wait():
                raise Problem("a pull fails as who syncs is killed", "it has nothing to do with it")
        return phase


def _open(log: str) -> str:
    """The phase that had begun and not ended when the log stopped."""
    depth: Counter[str] = Counter()
    for line in log.splitlines():
        _, _, word = line.partition(" ")
        depth[word[1:]] += 1 if word[0] == "+" else -1
    return next((name for name in PHASES if depth[name] > 0), "none")


def _reached(aim: str, log: str) -> bool:
    """True in the phase that is aimed at; that of extraction is seen when all has been fetched."""
    return _open(log) == aim and (aim != "extract" or "-download" in log)


def files(store: Path) -> dict[str, int]:
    """Every file of a store with its size; without times and names of processes."""
    found = {}
    for directory, folders, names in os.walk(store):
        for name in (*folders, *names):
            path = Path(directory, name)
            size = (
                0
                if path.is_dir() or "json" in name or "names" in directory
                else path.lstat().st_size
            )
            found[str(path.relative_to(store))] = size
    return found


def disturb(place: Path, image: str, kills: int, seed: int, least: int = 0) -> Killer:
    """Kill so often, or until each phase has its hits; raise Problem for whatever is not whole."""
    for name in ("fresh", "disturbed"):
        (place / name).mkdir()
    fresh, trial = Trial(place / "fresh"), Trial(place / "disturbed")
    fresh.call("pull", image)
    (chain,) = fresh.listing("trees")
    killer = Killer(trial, image, contents(fresh.store / "trees" / chain / "rootfs"), seed)
    while killer.kills < kills or (
        min(killer.hits[name] for name in PHASES) < least and killer.kills < 10 * kills
    ):
        killer.kill_once()
        if killer.kills % 20 == 0:
            print(f"{killer.kills} kills: {dict(killer.hits)}", file=sys.stderr, flush=True)
    trial.call("prune", "--force")
    for each in (fresh, trial):
        each.settle()
    left, wanted = files(trial.store), files(fresh.store)
    if left != wanted:
        differ = sorted(left.items() ^ wanted.items())[:5]
        raise Problem(f"prune has not reclaimed everything: {differ}", "compare the stores")
    used, alone = disk_use(str(trial.store)), disk_use(str(fresh.store))
    print(f"disk: {used} bytes, and {alone} of a fresh store", file=sys.stderr)
    trial.call("prune", "--whole-store", "--force")
    if trial.store.exists():
        raise Problem(f"the store is still there: {os.listdir(trial.store)}", "remove it by hand")
    return killer


def main() -> int:
    """Print how often each phase was hit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--least", type=int, default=40)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--place", default="/var/tmp", help="where to work: a disk, or memory")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    with tempfile.TemporaryDirectory(dir=arguments.place) as path:
        place = Path(path)
        sample.write(place / "layout", layers=2, small=400, large=6 << 20)
        with serving(place / "layout", place) as served:
            killer = disturb(place, served.image, arguments.kills, arguments.seed, arguments.least)
    for name in (*PHASES, "none"):
        print(f"{name:<10} {killer.hits[name]:4}")
    print(f"{killer.kills} kills; no broken image, and nothing is left that prune has not taken")
    return int(min(killer.hits[name] for name in PHASES) < arguments.least)


if __name__ == "__main__":
    sys.exit(main())

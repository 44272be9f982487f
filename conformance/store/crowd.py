"""Have many processes, on this node and on others, pull one image at once: each blob comes once.

usage: python -m conformance.store.crowd [--processes N] [--nodes N] [--rounds N]

A node is a name space of process ids with a host name of its own, on one shared store. What was
downloaded is read in the log of a docker-registry on the loopback interface.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from conformance.problem import Problem
from conformance.store import sample
from conformance.store.served import Served, serving
from conformance.store.stores import Tree, Trial, contents


def crowd(trial: Trial, served: Served, processes: int, nodes: int, expected: Tree | None) -> Tree:
    """Pull at once with all of them; raise Problem unless all succeed with one download a blob.

    With ``nodes`` the processes are spread over these; with 0 they are all of this one.
    """
    served.forget()
    started = [
        trial.start("pull", served.image, node=f"node-{n % nodes}" if nodes else "")
        for n in range(processes)
    ]
    for process in started:
        out, err = process.communicate(timeout=600)
        if process.returncode or err or out.strip() != served.image:
            raise Problem(f"a pull ends with {process.returncode}: {err}", "see its words")
    several = {blob: count for blob, count in served.downloads().items() if count != 1}
    if several or not served.downloads():
        raise Problem(f"downloads of blobs, more than one: {several}", "see the registry's log")
    (chain,) = trial.listing("trees")
    found = contents(trial.store / "trees" / chain / "rootfs")
    if expected is not None and found != expected:
        raise Problem("the tree is not that of one undisturbed pull", "compare them")
    for name in ("tmp", "leases"):
        if trial.listing(name):
            raise Problem(f"{name} is not empty: {trial.listing(name)}", "nobody is there any more")
    return found


def main() -> None:
    """Print one line for each round."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as path:
        place = Path(path)
        sample.write(place / "layout", layers=3, small=1000, large=8 << 20)
        with serving(place / "layout", place) as served:
            (place / "alone").mkdir()
            expected = crowd(Trial(place / "alone"), served, 1, 0, None)
            for number in range(arguments.rounds):
                for nodes in (0, arguments.nodes):
                    top = place / f"{number}-{nodes}"
                    top.mkdir()
                    start = time.monotonic()
                    crowd(Trial(top), served, arguments.processes, nodes, expected)
                    took = time.monotonic() - start
                    print(
                        f"{arguments.processes} processes on {nodes or 'this'} "
                        f"node{'s' if nodes > 1 else ''}: {len(served.downloads())} blobs, "
                        f"each downloaded once, {took:.1f} s",
                        flush=True,
                    )


if __name__ == "__main__":
    main()

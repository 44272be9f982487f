"""The start of ``true`` in a container whose image is there, beside the bare interpreter."""

from __future__ import annotations

import sys

from conformance.benchmarks.bench import Bench
from conformance.benchmarks.peers import known
from conformance.benchmarks.tables import Table, rows
from conformance.benchmarks.turns import Timed, Way, take

BARE = "python3 -c pass"


def measure(bench: Bench) -> list[Table]:
    """One table: everything that starts containers here."""
    here = known(bench)
    ways = [
        Way("true, no container", Timed(["true"]), needed=True),
        Way(BARE, Timed([sys.executable, "-c", "pass"]), needed=True),
    ]
    ways += [
        Way(one.name, Timed(one.words(["true"], [])), one.name.startswith("ours"), one.turns)
        for one in here.starters
    ]
    turns = take(ways, bench.number(40, 8), warm=True)
    table = Table(
        name="startup",
        title="Start of true in a container",
        unit="s",
        base=BARE,
        rows=rows(turns, BARE),
        note="The image's tree is unpacked already. runc and crun are started by a shell.",
        left_out={**here.left_out, **turns.left_out},
    )
    return [table]

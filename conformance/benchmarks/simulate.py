"""A thousand nodes from measured parts, and the same model beside a case that can be measured."""

from __future__ import annotations

import functools
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from conformance.benchmarks import growth_pulls, registry, touched
from conformance.benchmarks.bench import IMAGE, Bench, full_name, ours, room, tree
from conformance.benchmarks.cluster import WAYS, Cluster, Costs, Site
from conformance.benchmarks.pull import OURS, Fetch, Here, fetch, serving
from conformance.benchmarks.registry import Image
from conformance.benchmarks.tables import Row, Table
from conformance.benchmarks.turns import Taken, Way, median, take, timed
from conformance.problem import Problem
from cwl_userspace.store import lease
from cwl_userspace.store.store import Store

NODES, QUICK_NODES = (1, 4, 16, 64, 256, 1000), (1, 16)
# Simulated seconds after which a way is said not to have come to an end.
HORIZON = 300.0
ABOUT = """\
A model of processors, a registry, a file server and leases
(``conformance/benchmarks/cluster.py``), with what was measured of one process put in. All jobs
start within a second, which no scheduler does: it is the worst case. What is assumed of the
cluster is a table below, and so is how the model fares beside cases that this machine can play:
that is its sanity check, and no more. The model leaves out faults, other users, caches of the
file system's clients, and a scheduler's time."""
# Into one store from four nodes of 16, from one, and each into its own.
CASES = {
    "1 puller": (1, 1),
    "16 pullers, one store": (1, 16),
    "4 nodes of 16 pullers, one store": (1, 64),
    "8 pullers, a store each": (8, 8),
}
_START = 0.003
_LEASE = """
import sys
from cwl_userspace.store.lease import lease
from cwl_userspace.store.store import Store
store = Store(sys.argv[1])
store.prepare()
with lease(store, "name", float(sys.argv[2])):
    pass
"""


def measure(bench: Bench) -> list[Table]:
    """What was measured, what is assumed, whether the model is right, and what it says."""
    with serving(bench) as here:
        image = registry.upload(
            bench.layout(IMAGE), full_name(IMAGE), here.hosts.plain, "simulated"
        )
        costs = measured(bench, here, image)
        checked = _checked(bench, here, image, costs)
    nodes = QUICK_NODES if bench.quick else NODES
    return [
        _values("simulation: measured", "What was measured of one process", costs._asdict()),
        _values("simulation: assumed", "What is assumed of a cluster", Site(1)._asdict()),
        checked,
        Table(
            "simulation", f"Simulated: time until all jobs run, {Site(1).jobs_a_node} a node", "s",
            [row for way in WAYS for row in _curve(way, nodes, costs)], axis="nodes",
            note=f"What had not ended after {HORIZON:.0f} s is not shown.",
        ),
    ]  # fmt: skip


def _curve(way: str, nodes: Sequence[int], costs: Costs) -> list[Row]:
    found = []
    for number in nodes:
        seconds = Cluster(Site(number), costs).runs(way, HORIZON)
        if seconds is None:
            break
        found.append(Row(way, [float(f"{seconds:.4g}")], at=float(number)))
    return found


def _values(name: str, title: str, values: dict[str, float]) -> Table:
    rows = [Row(key.replace("_", " "), [float(f"{value:.4g}")]) for key, value in values.items()]
    return Table(name, title, "", rows)


def _checked(bench: Bench, here: Here, image: Image, costs: Costs) -> Table:
    """The model on one machine with free calls, beside the same measured on this one."""
    free = Site(1, cores=os.cpu_count() or 1, registry=1e12, client=1e12, calls=1e12, latency=1e-9)
    free = free._replace(calls_a_file=0)
    found = []
    for name, (stores, number) in CASES.items():
        if bench.quick and number > 16:
            continue
        # One who starts others has started the next after that time.
        simulated = Cluster(free._replace(spread=number * _START), costs, one=True)
        predicted = simulated.pulls(stores, number, HORIZON) or HORIZON
        nodes = 4 if number > 16 else 1
        go = functools.partial(crowd, here, image, number, stores, nodes)
        turns = take([Way(name, go, needed=True)], bench.number(5, 1))
        seconds = [one.seconds for one in turns.taken[name]]
        values = [float(f"{one:.4g}") for one in seconds]
        ratios = [float(f"{predicted / one:.3g}") for one in seconds]
        found.append(Row(name, values, ratios, note=f"simulated: {predicted:.2f} s"))
    return Table(
        "simulation: check", "The model beside this machine", "s", found,
        base="measured", note="The ratio is of the simulated time to the measured one.",
    )  # fmt: skip


def crowd(here: Here, image: Image, number: int, stores: int, nodes: int) -> Taken:
    """Pull with all at once; a node is a name space of process ids with a host name of its own."""
    return growth_pulls.crowd(OURS, here, image, number, stores == 1, nodes)


def measured(bench: Bench, here: Here, image: Image) -> Costs:
    """All that the model needs of one process on this machine."""
    cold = take([Way(OURS, Fetch(OURS, [image], here), True)], bench.number(5, 2)).taken[OURS]
    with room(bench.scratch) as place:
        fetch(OURS, image, here.hosts, place)
        again = [fetch(OURS, image, here.hosts, place) for _ in range(5)]
        packed = _packed(here, image, place)
    look, hold = _lease_calls(bench)
    shared, local = _run_calls(bench)
    words = [ours(), "--engine", "userns", "run", IMAGE, "true"]
    run = median([timed(words).processor for _ in range(5)])
    return Costs(
        pull=median([one.seconds for one in cold]),
        pull_processors=median([one.processor for one in cold]),
        again=median([one.processor for one in again]),
        run=run,
        unpack=max(0.0, packed[0] - run),
        image=float(image.size),
        pack=packed[1],
        files=float(cold[0].files),
        look=look,
        hold=hold,
        run_shared=shared,
        run_local=local,
        first_pause=lease._FIRST_PAUSE,
        longest_pause=lease._LONGEST_PAUSE,
    )


def _packed(here: Here, image: Image, place: Path) -> tuple[float, float]:
    """Seconds of processors of a node's first run, which unpacks; and the bytes of the pack."""
    name = f"{here.hosts.plain}/{image.name}:1"
    words = ["env", f"CWL_USERSPACE_HOME={place / 'store'}"]
    found = []
    for number in range(3):  # the first also makes the pack
        local = place / f"local-{number}"
        local.mkdir()
        command = [*words, f"CWL_USERSPACE_LOCAL_STORE={local}", ours(), "--engine", "userns"]
        found.append(timed([*command, "run", name, "true"]).processor)
    packs = [path.stat().st_size for path in place.glob("store/packs/*/tree.tar.zst")]
    if not packs:
        raise Problem("a run with local_store has made no pack", "see the log of cwl-userspace")
    return median(found[1:]), float(packs[0])


def _lease_calls(bench: Bench) -> tuple[float, float]:
    """Calls that name files: for one look at a lease that another has, and for having one."""
    with room(bench.scratch) as place:
        free = _calls(place, "1")
        with lease.lease(Store(str(place)), "name"):
            few, many = _calls(place, "1"), _calls(place, "4")
        looks = many["link"] - few["link"]
    return (many["all"] - few["all"]) / max(1, looks), float(free["all"])


def _calls(place: Path, patience: str) -> dict[str, int]:
    """What strace counts on the directory of leases."""
    with tempfile.NamedTemporaryFile("r") as trace:
        words = ["strace", "-f", "-qq", "-y", "-o", trace.name, "-e", "trace=%file"]
        timed([*words, sys.executable, "-c", _LEASE, str(place), patience])
        lines = [line for line in trace if f"{place}/leases/" in line]
    links = sum(1 for line in lines if re.search(r"\blink(at)?\(", line))
    return {"all": len(lines), "link": links}


def _run_calls(bench: Bench) -> tuple[float, float]:
    """Calls that a run makes of the shared store: with the tree in it, and with a local one."""
    root = tree(IMAGE)
    store = root.rsplit("/trees/", 1)[0]
    command = [ours(), "--engine", "userns", "run", IMAGE, "perl", "-e", "use POSIX"]
    with room(bench.scratch) as local:
        found = []
        for place, top in (("", root), (str(local), str(local))):
            counted = touched.touched(touched.run(command, place), store, top)
            found.append(float(counted.calls))
    return found[0], found[1]

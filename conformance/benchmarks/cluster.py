"""A model of a cluster whose jobs all want one image: what each does, and what it shares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from conformance.benchmarks.simulation import All, Process, Resource, Server, World

# How the image comes to the nodes.
EACH_NODE = "each node fetches it for itself, to a disk of its own"
NOBODY = "one shared store, and nobody has fetched it before"
BEFORE = "one shared store, fetched before"
LOCAL = "one shared store, fetched before, trees on local disks"
WAYS = (EACH_NODE, NOBODY, BEFORE, LOCAL)


class Costs(NamedTuple):
    """What was measured of one process."""

    # Seconds: of a pull where nothing is, and of processors that it used; the same of a pull of
    # what is there, which is a process that starts, asks and ends; of a run; of unpacking.
    pull: float
    pull_processors: float
    again: float
    run: float
    unpack: float
    # Bytes that are fetched, bytes of the file for local trees, files of the tree.
    image: float
    pack: float
    files: float
    # Calls of a file server: a look at a lease, taking one and giving it back; of a run with the
    # shared tree, and with a local one.
    look: float
    hold: float
    run_shared: float
    run_local: float
    # Seconds between two looks at a lease that another has: the first time, and at most.
    first_pause: float
    longest_pause: float


class Site(NamedTuple):
    """What is assumed of a cluster; the values are ours and can be disputed."""

    nodes: int
    jobs_a_node: int = 16
    cores: float = 16
    # Bytes a second of the registry in all, and for one client.
    registry: float = 1.25e9
    client: float = 250e6
    # Calls a second of the file server in all, and the seconds that an answer takes.
    calls: float = 20_000
    latency: float = 0.5e-3
    # Calls that one new file costs.
    calls_a_file: float = 3
    # Bytes a second of the shared file system in all, and for one node.
    wire: float = 5e9
    node_wire: float = 1e9
    # Seconds over which the jobs start, one after the other.
    spread: float = 1.0


class Lease:
    """Of several who want it one has it; the others look again."""

    taken = False


class Store:
    """A place for images, with or without the one that all want."""

    def __init__(self, there: bool, calls: Server) -> None:
        self.there, self.calls, self.lease = there, calls, Lease()


class Cluster:
    """The resources of a site; ``one`` is a single machine that plays all its nodes."""

    def __init__(self, site: Site, costs: Costs, one: bool = False) -> None:
        self.site, self.costs, self.world = site, costs, World()
        self.ended: list[float] = []
        self._registry = Resource(self.world, site.registry, site.client)
        self._calls = Resource(self.world, site.calls, 1 / site.latency)
        self._wire = Resource(self.world, site.wire, site.node_wire)
        count = 1 if one else site.nodes
        self._nodes = [Resource(self.world, site.cores, 1.0) for _ in range(count)]

    def runs(self, way: str, horizon: float) -> float | None:
        """Seconds until all jobs run, when all start at once; None if the horizon comes first."""
        shared = Store(way != NOBODY, self._calls)
        # The calls of a node's own disk cost no time.
        own = [Store(False, self.world) for _ in range(self.site.nodes)]
        count = self.site.nodes * self.site.jobs_a_node
        for one in range(count):
            node = one % self.site.nodes
            place = own[node] if way == EACH_NODE else shared
            self._start(self._run(way, node, place, own[node]), one / count)
        return self._end(count, horizon)

    def pulls(self, stores: int, number: int, horizon: float) -> float | None:
        """Seconds until so many who pull at once, into so many stores, have ended."""
        places = [Store(False, self._calls) for _ in range(stores)]
        for one in range(number):
            self._start(self._pull(self._nodes[0], places[one % stores]), one / number)
        return self._end(number, horizon)

    def _start(self, process: Process, part: float) -> None:
        self.world.use(part * self.site.spread, lambda: self.world.start(process))

    def _end(self, count: int, horizon: float) -> float | None:
        self.world.run(horizon)
        return max(self.ended) if len(self.ended) == count else None

    def _run(self, way: str, number: int, store: Store, own: Store) -> Process:
        node, costs = self._nodes[number], self.costs
        yield node, costs.run
        if way in (EACH_NODE, NOBODY):
            yield from self._get(node, store, self._fetch(node, store))
        elif way == LOCAL:
            yield from self._get(node, own, self._unpack(node))
        calls = {EACH_NODE: 0.0, LOCAL: costs.run_local}.get(way, costs.run_shared)
        yield self._calls, calls
        self.ended.append(self.world.now)

    def _pull(self, node: Resource, store: Store) -> Process:
        yield node, self.costs.again
        yield from self._get(node, store, self._fetch(node, store))
        self.ended.append(self.world.now)

    def _get(self, node: Resource, store: Store, how: Process) -> Process:
        """Make it, or wait for who does: as cwl_userspace.store.lease has them do it."""
        costs, pause = self.costs, self.costs.first_pause
        if store.there:
            return
        yield store.calls, _of(store, costs.look)
        while store.lease.taken:
            yield self.world, pause
            pause = min(pause * 1.5, costs.longest_pause)
            yield store.calls, _of(store, costs.look)
        store.lease.taken = True
        if not store.there:
            yield from how
            store.there = True
        yield store.calls, _of(store, costs.hold)
        store.lease.taken = False

    def _fetch(self, node: Resource, store: Store) -> Process:
        """Bytes, processors and the calls for files, one beside the other."""
        parts: list[tuple[Server, float]] = [(self._registry, self.costs.image)]
        parts += [(node, amount) for amount in threads(self.costs)]
        if store.calls is self._calls:
            parts.append((self._calls, self.costs.files * self.site.calls_a_file))
        yield All(*parts), 0.0

    def _unpack(self, node: Resource) -> Process:
        yield All((self._wire, self.costs.pack), (node, self.costs.unpack)), 0.0


def _of(store: Store, calls: float) -> float:
    return 0.0 if isinstance(store.calls, World) else calls


def threads(costs: Costs) -> Iterator[float]:
    """A pull as threads that take, alone, the seconds and the processors that were measured."""
    alone = max(costs.pull - costs.again, 1e-3)
    left = max(costs.pull_processors - costs.again, 1e-3)
    while left > 0:
        yield min(alone, left)
        left -= alone

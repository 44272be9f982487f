"""How the cost of a pull grows: with files, with bytes, and with those who want one at once."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from conformance.benchmarks import registry, synthetic
from conformance.benchmarks.bench import Bench, ours, room
from conformance.benchmarks.pull import FLOOR, OURS, WAYS, Fetch, Here, serving, ways
from conformance.benchmarks.registry import Image
from conformance.benchmarks.tables import Row, Table, rows
from conformance.benchmarks.turns import Taken, Timed, Turns, Way, take, together
from conformance.layout import Layout

FILES, QUICK_FILES = (1, 10, 100, 1000, 10_000, 100_000), (1, 1000)
_A_FILE = 2000
SIZES, QUICK_SIZES = (10_000_000, 100_000_000, 1_000_000_000, 5_000_000_000), (10_000_000,)
PULLERS, QUICK_PULLERS = (1, 2, 4, 8, 16, 32, 64), (1, 8)
# Peers are measured up to these: more would take them most of the time.
_PEERS_FILES, _PEERS_SIZE, _OTHERS_PULLERS = 10_000, 1_000_000_000, 16
# What the image of the pullers has.
_CROWD_FILES, _CROWD_SIZE = 2000, 60_000_000
# Of a size: twice itself, since a peer keeps what it fetched, and packed, where it is served.
_ROOM = 3.2


def files(bench: Bench) -> list[Table]:
    """Pull, and start of true, of images of so many small files."""
    pulled: list[Row] = []
    started: list[Row] = []
    left_out: dict[str, str] = {}
    with serving(bench) as here:
        for number in bench.files or (QUICK_FILES if bench.quick else FILES):
            with _put(here, f"files/{number}", number, number * _A_FILE) as image:
                most = _PEERS_FILES
                turns = _pulls(bench, here, image, number <= most, 1 if number > most else 3)
                pulled += rows(turns, FLOOR, at=float(number))
                left_out |= turns.left_out
                started += _starts(bench, here, image, number)
    return [
        Table(
            "files", f"Pull of an image of so many files of {_A_FILE} bytes", "s", pulled, FLOOR,
            axis="files", left_out=left_out,
        ),
        Table(
            "files: start", "Start of true in an image of so many files", "s", started,
            axis="files", note="Our engine userns.",
        ),
    ]  # fmt: skip


def _starts(bench: Bench, here: Here, image: Image, number: int) -> list[Row]:
    with room(bench.scratch) as place:
        name = f"{here.hosts.plain}/{image.name}:1"
        words = ["env", f"CWL_USERSPACE_HOME={place}", ours(), "--engine", "userns", "run", name]
        run = Timed([*words, "true"])
        run()
        turns = take([Way(OURS, run, needed=True)], bench.number(5, 2))
        return rows(turns, "", at=float(number))


def sizes(bench: Bench) -> list[Table]:
    """Pull of images of so many bytes: time, and the memory that it takes."""
    pulled: list[Row] = []
    memory: list[Row] = []
    left_out: dict[str, str] = {}
    with serving(bench) as here:
        for size in bench.sizes or (QUICK_SIZES if bench.quick else SIZES):
            free = shutil.disk_usage(here.place).free
            if free < _ROOM * size:
                left_out[f"{size / 1e6:.0f} MB"] = f"only {free / 1e6:.0f} MB are free"
                continue
            with _put(here, f"sizes/{size}", max(1, size // synthetic.USUAL), size) as image:
                small, most = size <= _PEERS_SIZE, 3 if size < _PEERS_SIZE else 1
                turns = _pulls(bench, here, image, small, most)
                pulled += rows(turns, FLOOR, at=float(size))
                memory += rows(turns, "", lambda one: float(one.memory), at=float(size))
                left_out |= turns.left_out
    note = f"Files of {synthetic.USUAL} bytes, packed by gzip -1 to less than a half."
    return [
        Table(
            "sizes", "Pull of an image of so many bytes", "s", pulled, FLOOR, axis="bytes",
            note=note, left_out=left_out,
        ),
        Table(
            "sizes: memory", "Memory of the largest process in that pull", "B", memory,
            axis="bytes",
        ),
    ]  # fmt: skip


def _pulls(bench: Bench, here: Here, image: Image, peers: bool, turns: int) -> Turns:
    chosen, left_out = ways(bench) if peers else ([FLOOR, OURS], {})
    every = [
        Way(way, Fetch(way, [image], here, look=False), needed=way in (FLOOR, OURS))
        for way in chosen
    ]
    found = take(every, bench.number(turns, 1))
    found.left_out.update(left_out)
    return found


def pullers(bench: Bench) -> list[Table]:
    """So many who want one image at once: into one store, and each into a place of its own."""
    found: list[Row] = []
    left_out: dict[str, str] = {}
    with serving(bench) as here, _put(here, "crowd", _CROWD_FILES, _CROWD_SIZE) as image:
        for number in bench.pullers or (QUICK_PULLERS if bench.quick else PULLERS):
            every = [Way(ONE, functools.partial(crowd, OURS, here, image, number, True), True)]
            if number <= _OTHERS_PULLERS:
                each = functools.partial(crowd, FLOOR, here, image, number, False)
                every.append(Way(EACH, each))
                podman = functools.partial(crowd, "podman", here, image, number, True)
                chosen, missing = ways(bench)
                every += [Way(PODMAN, podman)] if "podman" in chosen else []
                left_out |= missing
            turns = take([way for way in every if way.name not in left_out], bench.number(3, 1))
            found += rows(turns, "", at=float(number))
            left_out |= turns.left_out
    title = f"Pullers of one image of {_CROWD_SIZE / 1e6:.0f} MB at once"
    return [
        Table(
            "pullers", title, "s", found, axis="pullers",
            note="The time until the last has it.", left_out=left_out,
        )
    ]  # fmt: skip


ONE, EACH, PODMAN = "ours, one store", f"{FLOOR}, each for itself", "podman, one store"


def crowd(way: str, here: Here, image: Image, number: int, shared: bool, nodes: int = 1) -> Taken:
    """Fetch with all of them at once, into one empty directory or one each. Raises Failed.

    Of several nodes each has a host name and process ids of its own, all on this machine.
    """
    with room(here.place) as place:
        tops = [place if shared else place / str(n) for n in range(number)]
        commands = [_fetching(way, here, image, top) for top in tops]
        if nodes > 1:
            commands = [[*_NODE, f"node-{n % nodes}", *one] for n, one in enumerate(commands)]
        return together(commands)


_NODE = ["unshare", "--user", "--map-root-user", "--uts", "--pid", "--fork", "--mount-proc"]
_NODE += ["sh", "-c", 'hostname "$0" && exec "$@"']


def _fetching(way: str, here: Here, image: Image, top: Path) -> Sequence[str]:
    top.mkdir(exist_ok=True)
    values = {"HERE": top, "IMAGE": image.name, "BLOBS": " ".join(image.blobs)}
    values |= {"REGISTRY": here.hosts.plain}
    told = [f"{name}={value}" for name, value in values.items()]
    return ["env", "-C", str(top), *told, "bash", "-c", WAYS[way][0]]


@contextmanager
def _put(here: Here, name: str, number: int, size: int) -> Iterator[Image]:
    """Have an image in the registry; of the layers nothing is kept elsewhere."""
    with room(here.place) as place:
        synthetic.image(Layout(place), "it", number, size)
        image = registry.upload(place, "it", here.hosts.plain, name)
    yield image

"""How images are fetched and unpacked, beside curl, gzip and tar, from a registry on loopback.

What is fetched is looked at, too: files that the floor has and another has not are said to be
missing; ch-image adds some. It speaks nothing but https, so it asks a second registry in front of
the same images, with a certificate that openssl makes; it does not look at that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from conformance.benchmarks import registry
from conformance.benchmarks.bench import BIO, IMAGE, WHOLE, Bench, full_name, room
from conformance.benchmarks.peers import install_udocker
from conformance.benchmarks.registry import Hosts, Image
from conformance.benchmarks.tables import Row, Table, rows
from conformance.benchmarks.turns import Failed, Taken, Turns, Way, take, timed

FLOOR = "curl | gzip -dc | tar -x"
OURS = "ours"
# For bash; $HERE is an empty directory, $IMAGE the name at $REGISTRY and, by https, at
# $SECURE_REGISTRY, $BLOBS the digests of its layers. The tree that comes of it is below $HERE, at
# the pattern behind.
WAYS = {
    FLOOR: (
        "mkdir -p tree; for blob in $BLOBS; do "
        "curl -sf http://$REGISTRY/v2/$IMAGE/blobs/$blob | gzip -dc | "
        "tar -x -C tree --exclude=dev/*; done",
        "tree",
    ),
    OURS: (
        "CWL_USERSPACE_HOME=$HERE/store cwl-userspace pull -q $REGISTRY/$IMAGE:1",
        "store/trees/*/rootfs",
    ),
    "skopeo + umoci": (
        "skopeo copy -q --src-tls-verify=false docker://$REGISTRY/$IMAGE:1 oci:layout:it && "
        "umoci unpack --rootless --image layout:it $(mktemp -d -p .)/bundle",
        "tmp.*/bundle/rootfs",
    ),
    "udocker": (
        "export UDOCKER_DIR=$HERE/udocker; "
        "udocker --insecure pull --registry=http://$REGISTRY $IMAGE:1 && udocker create $IMAGE:1",
        "udocker/containers/*/ROOT",
    ),
    "ch-image": (
        "ch-image -s $HERE/store --no-cache --tls-no-verify pull $SECURE_REGISTRY/$IMAGE:1",
        "store/img/*",
    ),
    "podman": (
        "podman --root $HERE/root --runroot $HERE/r --cgroup-manager=cgroupfs "
        "--storage-driver=overlay --storage-opt ignore_chown_errors=true "
        "pull -q --tls-verify=false $REGISTRY/$IMAGE:1",
        "",  # one directory a layer
    ),
}
NEEDS = {
    FLOOR: ("curl", "gzip", "tar"),
    OURS: ("cwl-userspace",),
    "ch-image": ("ch-image", "openssl"),
    "skopeo + umoci": ("skopeo", "umoci"),
}


class Here(NamedTuple):
    """The registries, and where things are fetched to."""

    hosts: Hosts
    place: Path


def measure(bench: Bench) -> list[Table]:
    """For each image a table of time, one of memory and one of disk."""
    found = []
    with serving(bench) as here:
        for name in (IMAGE,) if bench.quick else (WHOLE, BIO):
            layout = bench.layout(name)
            short = name.rpartition("/")[2].partition(":")[0]
            image = registry.upload(layout, full_name(name), here.hosts.plain, f"bench/{short}")
            chosen, left_out = ways(bench)
            every = [
                Way(way, Fetch(way, [image], here), needed=way in (FLOOR, OURS)) for way in chosen
            ]
            turns = take(every, bench.number(7, 2))
            turns.left_out.update(left_out)
            found += tables(short, image, turns)
    return found


def tables(name: str, image: Image, turns: Turns) -> list[Table]:
    """Time, memory and disk of what was fetched."""
    size = f"{name}: {_layers(image)}, {image.size / 1e6:.0f} MB compressed"
    files = turns.taken[FLOOR][0].files
    missing = {
        way: f"{files - goes[0].files} files missing"
        for way, goes in turns.taken.items()
        if WAYS[way][1] and goes[0].files < files
    }
    time = Table(
        f"pull {name}", f"Pull and unpack {size}", "s", rows(turns, FLOOR, notes=missing),
        FLOOR, note=f"{files} files.", left_out=turns.left_out,
    )  # fmt: skip
    memory = Table(
        f"pull {name}: memory", f"Memory of the largest process, {name}", "B",
        _once(rows(turns, FLOOR, lambda one: float(one.memory))), FLOOR,
    )  # fmt: skip
    disk = Table(
        f"pull {name}: disk", f"Disk after the pull, {name}", "B",
        _once(rows(turns, FLOOR, lambda one: float(one.disk))), FLOOR,
        note="The floor is the tree alone.",
    )  # fmt: skip
    return [time, memory, disk]


def _layers(image: Image) -> str:
    return f"{len(image.blobs)} layer{'s' if len(image.blobs) > 1 else ''}"


def _once(found: list[Row]) -> list[Row]:
    """The most of all turns: that is what one must have."""
    most = [row._replace(values=[max(row.values)]) for row in found]
    base = next(row.values[0] for row in most if row.name == FLOOR)
    return [row._replace(ratios=[row.values[0] / base]) for row in most]


@contextmanager
def serving(bench: Bench) -> Iterator[Here]:
    """A registry that is empty, by http and by https, and a place to fetch to."""
    with ExitStack() as stack:
        place = stack.enter_context(room(bench.scratch))
        plain = stack.enter_context(registry.serving(place))
        secure = ""
        if shutil.which("openssl") and shutil.which("ch-image"):
            secure = stack.enter_context(registry.serving(place, registry.certificate(place)))
        if shutil.which("udocker"):
            try:
                install_udocker(bench.scratch)
            except Failed:
                pass  # it says so itself when it is tried
        yield Here(Hosts(plain, secure), bench.scratch)


def ways(bench: Bench) -> tuple[list[str], dict[str, str]]:
    """The floor, and those ways whose programs are here and work; why others are left out."""
    found, left_out = [], {}
    for name in WAYS:
        if not bench.wants(name, FLOOR, OURS):
            continue
        missing = [program for program in NEEDS.get(name, (name,)) if not _works(program)]
        if missing:
            left_out[name] = f"{missing[0]} is not installed, or does not start"
        else:
            found.append(name)
    return found, left_out


def _works(program: str) -> bool:
    if shutil.which(program) is None:
        return False
    option = "version" if program == "openssl" else "--version"
    words = [program, option]
    return subprocess.run(words, capture_output=True, env=_environment()).returncode == 0


def _environment() -> dict[str, str]:
    """Ours, but programs of the system find the system's Python, and not one of ours."""
    return {**os.environ, "PATH": f"/usr/bin:/bin:{os.environ.get('PATH', '')}"}


class Fetch:
    """A way to go: fetch images one after the other into an empty directory; the last is timed."""

    def __init__(self, way: str, images: Sequence[Image], here: Here, look: bool = True) -> None:
        self._way, self._images, self._here, self._look = way, images, here, look

    def __call__(self) -> Taken:
        with room(self._here.place) as place:
            before = 0
            for image in self._images[:-1]:
                fetch(self._way, image, self._here.hosts, place)
                before, _ = disk_and_files(place, "")
            taken = fetch(self._way, self._images[-1], self._here.hosts, place)
            if not self._look:
                return taken
            disk, files = disk_and_files(place, WAYS[self._way][1])
            return taken._replace(disk=disk - before, files=files)


def fetch(way: str, image: Image, hosts: Hosts, here: Path) -> Taken:
    """Do it, into a directory. Raises Failed."""
    variables = {"HERE": str(here), "IMAGE": image.name}
    variables |= {"REGISTRY": hosts.plain, "SECURE_REGISTRY": hosts.secure}
    variables |= {"BLOBS": " ".join(image.blobs), "PATH": _environment()["PATH"]}
    return timed(["bash", "-c", WAYS[way][0]], variables, here)


def disk_and_files(here: Path, pattern: str) -> tuple[int, int]:
    """The bytes that all takes on disk, and how many regular files the newest tree has."""
    seen, disk = set(), 0
    for top, folders, names in os.walk(here):
        for name in (*folders, *names):
            found = os.lstat(os.path.join(top, name))
            if found.st_ino not in seen:
                seen.add(found.st_ino)
                disk += found.st_blocks * 512
    trees = list(here.glob(pattern)) if pattern else []
    files = [
        p for tree in trees[-1:] for p in tree.rglob("*") if p.is_file() and not p.is_symlink()
    ]
    return disk, len([p for p in files if p.parent.name != "dev"])

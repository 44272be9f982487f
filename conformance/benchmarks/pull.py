"""Time how images are fetched and unpacked, beside curl, gzip and tar, from a registry on loopback.

usage: python -m conformance.benchmarks.pull [--runs N] [--only NAMES] LAYOUT IMAGE...

LAYOUT is an OCI image layout that has each IMAGE, as conformance.images makes one, of layers packed
with gzip. Everything goes to TMPDIR: have it on a fresh file system, such as a tmpfs, since ext4 is
slow to make files where many were removed. docker-registry and skopeo are needed; of ch-image,
podman, udocker and umoci whatever is installed is measured as well. ch-image speaks nothing but
https, so it asks a second registry in front of the same images, with a certificate that openssl
makes; it does not look at that. All take turns, --runs times
over, so that a drift of the machine meets them all. What is fetched is looked at, too: files that
the first, which is the floor, has and another has not are said to be missing. ch-image adds some.

Of several images each is also fetched by ours into a store that has those before it: with layers in
common at its beginning, that costs only what is new.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cwl_userspace.image.confine import remove_tree

FLOOR = "curl | gzip -dc | tar -x"
OURS = "ours"
# For bash; $HERE is an empty directory, $IMAGE the name at $REGISTRY and, by https, at
# $SECURE_REGISTRY, $BLOBS the digests of its layers. The tree that comes of it is below $HERE, at
# the pattern behind.
WAYS = {
    FLOOR: (
        "mkdir tree; for blob in $BLOBS; do "
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
        "umoci unpack --rootless --image layout:it bundle",
        "bundle/rootfs",
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
        "podman --root $HERE/root --runroot $HERE/run --cgroup-manager=cgroupfs --runtime=runc "
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


class Hosts(NamedTuple):
    """The host and port of the registry by http and, where something needs it, by https."""

    plain: str
    secure: str


class Image(NamedTuple):
    """What the registry has: a name, and the digests and the size of its layers."""

    name: str
    blobs: Sequence[str]
    size: int


class Failed(Exception):
    """A way that did not get there, and what it said."""


class Fetched(NamedTuple):
    """What one way took, and what came of it."""

    seconds: float
    memory: int
    disk: int
    files: int


def ways(only: Sequence[str]) -> list[str]:
    """The floor, and those ways whose programs are here and work; what is left out is said."""
    found = []
    for name in WAYS:
        programs = NEEDS.get(name, (name,))
        missing = [program for program in programs if not _works(program)]
        if only and name not in (FLOOR, *only):
            continue
        if missing:
            print(f"{name}: left out, {missing[0]} is not installed, or does not start")
        else:
            found.append(name)
    return found


def _works(program: str) -> bool:
    if shutil.which(program) is None:
        return False
    option = "version" if program == "openssl" else "--version"
    words = [program, option]
    return subprocess.run(words, capture_output=True, env=environment()).returncode == 0


def environment() -> dict[str, str]:
    """Ours, but programs of the system find the system's Python, and not one of ours.

    ch-image wants to be told who asks.
    """
    path = f"/usr/bin:/bin:{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "USER": pwd.getpwuid(os.getuid()).pw_name}


def certificate(place: Path) -> dict[str, str]:
    """A certificate that nobody has signed, as docker-registry is told of it."""
    files = {name: str(place / f"{name}.pem") for name in ("certificate", "key")}
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    words += ["-out", files["certificate"], "-keyout", files["key"]]
    subprocess.run(words, check=True, capture_output=True)
    return files


@contextlib.contextmanager
def registry(place: Path, tls: Mapping[str, str] | None = None) -> Iterator[str]:
    """The host and port of a registry that keeps its images below a directory."""
    program = shutil.which("docker-registry") or sys.exit("docker-registry is not on PATH")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    host = f"{address[0]}:{address[1]}"
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(place / "registry")}},
        "http": {"addr": host, "tls": dict(tls or {})},
    }
    settings = place / f"registry-{host}.yml"
    settings.write_text(json.dumps(config))  # JSON is YAML, too
    words = [program, "serve", str(settings)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)  # it notes each blob not yet there
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(address):
                break
            time.sleep(0.05)
        yield host
    finally:
        process.terminate()
        process.wait()


def _aside(place: Path) -> dict[str, str]:
    """Where programs of the containers family keep what they share; there may be no other place."""
    return {"XDG_RUNTIME_DIR": str(place)}


def upload(layout: str, name: str, host: str, number: int, place: Path) -> Image:
    """Copy an image of a layout into the registry."""
    ours = f"bench/{number}"
    words = ["skopeo", "copy", "-q", "--dest-tls-verify=false"]
    names = [f"oci:{layout}:{name}", f"docker://{host}/{ours}:1"]
    subprocess.run([*words, *names], check=True, env={**os.environ, **_aside(place)})
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    request = urllib.request.Request(f"http://{host}/v2/{ours}/manifests/1", headers=accept)
    with urllib.request.urlopen(request) as answer:
        layers = json.load(answer)["layers"]
    return Image(ours, [one["digest"] for one in layers], sum(one["size"] for one in layers))


def fetch(way: str, image: Image, hosts: Hosts, here: Path) -> tuple[float, int]:
    """Do it; the seconds of wall time, and the memory in bytes of the largest process."""
    variables = {"HERE": str(here), "IMAGE": image.name, **_aside(here)}
    variables |= {"REGISTRY": hosts.plain, "SECURE_REGISTRY": hosts.secure}
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            ["bash", "-c", WAYS[way][0]],
            cwd=here,
            env={**environment(), **variables, "BLOBS": " ".join(image.blobs)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            said.seek(0)
            raise Failed(f"{way}: {process.returncode} {said.read()[-2000:].decode()}")
    return seconds, usage.ru_maxrss << 10


def disk_and_files(here: Path, way: str) -> tuple[int, int]:
    """The bytes that all takes on disk, and how many regular files the tree has."""
    seen, disk = set(), 0
    for top, folders, names in os.walk(here):
        for name in (*folders, *names):
            found = os.lstat(os.path.join(top, name))
            if found.st_ino not in seen:
                seen.add(found.st_ino)
                disk += found.st_blocks * 512
    pattern = WAYS[way][1]
    trees = list(here.glob(pattern)) if pattern else []
    files = [
        p for tree in trees[-1:] for p in tree.rglob("*") if p.is_file() and not p.is_symlink()
    ]
    return disk, len([p for p in files if p.parent.name != "dev"])


def measure(way: str, image: Image, hosts: Hosts, place: Path) -> Fetched:
    """One fetch into an empty directory, which is gone afterwards."""
    here = Path(tempfile.mkdtemp(dir=place))
    try:
        seconds, memory = fetch(way, image, hosts, here)
        return Fetched(seconds, memory, *disk_and_files(here, way))
    finally:
        remove_tree(str(here))


def turn(chosen: list[str], image: Image, hosts: Hosts, place: Path) -> dict[str, Fetched]:
    """Each way once. A peer that fails is left out from then on, with a word."""
    found = {}
    for way in list(chosen):
        try:
            found[way] = measure(way, image, hosts, place)
        except Failed as failed:
            if way in (FLOOR, OURS):
                sys.exit(str(failed))
            print(f"left out: {failed}")
            chosen.remove(way)
    return found


def beside(images: Sequence[Image], hosts: Hosts, place: Path) -> Iterator[tuple[float, int]]:
    """The seconds and bytes on disk that each image costs ours after those before it."""
    here = Path(tempfile.mkdtemp(dir=place))
    disk = 0
    try:
        for image in images:
            seconds, _ = fetch(OURS, image, hosts, here)
            before, disk = disk, disk_and_files(here, OURS)[0]
            yield seconds, disk - before
    finally:
        remove_tree(str(here))


def show(image: Image, turns: Sequence[Mapping[str, Fetched]]) -> None:
    """Medians, and the ratio to the floor of the same turn with its spread."""
    files = turns[0][FLOOR].files
    print(f"{'':<26}{'s':>7}{'MB/s':>7}{'files/s':>9}{'memory':>8}{'disk':>9}   ratio to the floor")
    for way in turns[-1]:
        results = [found[way] for found in turns]
        seconds = statistics.median(one.seconds for one in results)
        ratios = [found[way].seconds / found[FLOOR].seconds for found in turns]
        line = f"{way:<26}{seconds:7.2f}{image.size / 1e6 / seconds:7.1f}{files / seconds:9.0f}"
        line += f"{max(one.memory for one in results) >> 20:5} MB{results[0].disk / 1e6:6.0f} MB"
        line += f"{statistics.median(ratios):8.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        missing = files - results[0].files if WAYS[way][1] else 0
        print(line + (f"  {missing} files missing" if missing > 0 else ""))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("layout")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="names of ways, with commas between them")
    given = parser.parse_args()
    chosen = ways([name for name in given.only.split(",") if name])
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        host = stack.enter_context(registry(place))
        secure = ""
        if "ch-image" in chosen:
            secure = stack.enter_context(registry(place, certificate(place)))
        hosts = Hosts(host, secure)
        images = [upload(given.layout, n, host, i, place) for i, n in enumerate(given.images)]
        for name, image in zip(given.images, images, strict=True):
            turns = [turn(chosen, image, hosts, place) for _ in range(given.runs)]
            size = f"{len(image.blobs)} layers, {image.size / 1e6:.0f} MB"
            print(f"\n{name}: {size}, {given.runs} turns")
            show(image, turns)
        if OURS in chosen and len(images) > 1:
            print("\nours, one after the other into one store")
            for name, (seconds, disk) in zip(
                given.images, beside(images, hosts, place), strict=True
            ):
                print(f"{name:<40}{seconds:7.2f} s, {disk / 1e6:.0f} MB on disk")


if __name__ == "__main__":
    main()

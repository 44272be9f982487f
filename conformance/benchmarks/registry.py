"""Debian's docker-registry on the loopback interface, and images that are put into it."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from conformance.problem import Problem

_PATIENCE = 30.0


class Hosts(NamedTuple):
    """The host and port of the registry by http and, where something needs it, by https."""

    plain: str
    secure: str = ""


class Image(NamedTuple):
    """What the registry has: a name, and the digests and the size of its layers."""

    name: str
    blobs: Sequence[str]
    size: int


@contextlib.contextmanager
def serving(place: Path, tls: Mapping[str, str] | None = None) -> Iterator[str]:
    """The host and port of a registry that keeps its images below a directory."""
    program = shutil.which("docker-registry")
    if not program:
        raise Problem("docker-registry is not on PATH", "apt-get install docker-registry")
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
        _wait(process, (str(address[0]), int(address[1])))
        yield host
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], address: tuple[str, int]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(address):
            return
        time.sleep(0.05)
    raise Problem(f"docker-registry does not answer at {address[0]}:{address[1]}")


def certificate(place: Path) -> dict[str, str]:
    """A certificate that nobody has signed, as docker-registry is told of it."""
    files = {name: str(place / f"{name}.pem") for name in ("certificate", "key")}
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    words += ["-out", files["certificate"], "-keyout", files["key"]]
    subprocess.run(words, check=True, capture_output=True)
    return files


def upload(layout: Path, name: str, host: str, ours: str) -> Image:
    """Copy an image of a layout into the registry, by the name ``ours``."""
    words = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]
    names = [f"oci:{layout}:{name}", f"docker://{host}/{ours}:1"]
    done = subprocess.run([*words, *names], capture_output=True, text=True)
    if done.returncode:
        raise Problem(f"skopeo cannot copy '{name}': {done.stderr.strip()[-300:]}")
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    request = urllib.request.Request(f"http://{host}/v2/{ours}/manifests/1", headers=accept)
    with urllib.request.urlopen(request) as answer:
        layers = json.load(answer)["layers"]
    return Image(ours, [one["digest"] for one in layers], sum(one["size"] for one in layers))

"""Debian's docker-registry on the loopback interface, and images that are put into it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from conformance.problem import Problem

_PATIENCE = 30.0
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


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
    layers = json.loads(_ask(f"http://{host}/v2/{ours}/manifests/1"))["layers"]
    return _image(ours, layers)


def upload_part(host: str, whole: str, layers: Sequence[int], ours: str) -> Image:
    """Have the registry make an image of some layers of one that it has, the lowest of them 0."""
    there, here = (f"http://{host}/v2/{name}" for name in (whole, ours))
    manifest = json.loads(_ask(f"{there}/manifests/1"))
    config = json.loads(_ask(f"{there}/blobs/{manifest['config']['digest']}"))
    config.pop("history", None)
    config["rootfs"]["diff_ids"] = [config["rootfs"]["diff_ids"][n] for n in layers]
    raw = json.dumps(config).encode()
    digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    place = _ask(f"{here}/blobs/uploads/", "POST", b"", "Location")
    _ask(f"{place}{'&' if '?' in place else '?'}digest={digest}", "PUT", raw)
    manifest["config"] |= {"digest": digest, "size": len(raw)}
    manifest["layers"] = [manifest["layers"][n] for n in layers]
    for layer in manifest["layers"]:
        _ask(f"{here}/blobs/uploads/?mount={layer['digest']}&from={whole}", "POST", b"")
    _ask(f"{here}/manifests/1", "PUT", json.dumps(manifest).encode())
    return _image(ours, manifest["layers"])


def _image(name: str, layers: Sequence[dict[str, Any]]) -> Image:
    return Image(name, [one["digest"] for one in layers], sum(one["size"] for one in layers))


def _ask(url: str, method: str = "GET", data: bytes | None = None, header: str = "") -> str:
    """What a registry answers, or one of the answer's headers."""
    kind = _MANIFEST if "/manifests/" in url else "application/octet-stream"
    headers = {"Accept": _MANIFEST, "Content-Type": kind}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return str(answer.headers[header]) if header else str(answer.read().decode())

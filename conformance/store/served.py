"""Debian's docker-registry on the loopback interface with a sample image, and what it was asked."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from conformance.problem import Problem

_CONFIG = """
version: 0.1
log:
  accesslog: {{disabled: false}}
storage:
  filesystem:
    rootdirectory: {root}
http:
  addr: 127.0.0.1:{port}
"""
# A line of the log in Apache's combined format, of a blob that was sent.
_SENT = re.compile(r'"GET /v2/\S+/blobs/(sha256:[0-9a-f]{64})\S* HTTP/1\.\d" (200|206|307) ')


class Served:
    """A registry that is running: its image's name, and its own log."""

    def __init__(self, address: str, log: Path) -> None:
        self.image = f"{address}/sample:1"
        self._log = log

    def downloads(self) -> Counter[str]:
        """How often each blob was asked for and sent, by the registry's own log."""
        text = self._log.read_text(encoding="utf-8", errors="replace")
        return Counter(match[1] for match in _SENT.finditer(text))

    def forget(self) -> None:
        """Begin the log anew: what was asked so far does not count."""
        os.truncate(self._log, 0)


@contextlib.contextmanager
def serving(layout: Path, place: Path) -> Iterator[Served]:
    """Serve the image of a layout while the block runs; ``place`` is a directory to work in."""
    program, pusher = shutil.which("docker-registry"), shutil.which("skopeo")
    if not program or not pusher:
        raise Problem("docker-registry or skopeo is missing", "install Debian's packages")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    config, log = place / "registry.yml", place / "registry.log"
    config.write_text(_CONFIG.format(root=place / "registry", port=port))
    with (
        open(log, "a") as written,
        subprocess.Popen([program, "serve", config], stdout=written, stderr=written) as process,
    ):
        try:
            _wait(port)
            served = Served(f"127.0.0.1:{port}", log)
            _push(pusher, layout, served.image, place)
            served.forget()
            yield served
        finally:
            process.kill()


def _wait(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise Problem("docker-registry does not answer", "see registry.log") from None
            time.sleep(0.05)


def _push(pusher: str, layout: Path, image: str, place: Path) -> None:
    credentials = place / "auth.json"
    credentials.write_text("{}")
    words = ["--insecure-policy", "copy", "--dest-tls-verify=false"]
    subprocess.run(
        [pusher, *words, f"oci:{layout}:sample", f"docker://{image}"],
        check=True,
        capture_output=True,
        env={
            **os.environ,
            "HOME": str(place),
            "TMPDIR": str(place),
            "REGISTRY_AUTH_FILE": str(credentials),
        },
    )

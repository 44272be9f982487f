"""A real proxy in a process of its own: plain requests, and tunnels by CONNECT.

It knows where the hosts of a test are, which no name server does, and writes down what it was
asked. As a program: ``python -m tests.proxy LOG LOGIN HOST=ADDRESS...``; it prints its port.
"""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

_HOP = ("connection", "proxy-authorization", "proxy-connection", "keep-alive")


class Proxy(NamedTuple):
    """A proxy that runs, and the file in which its requests are."""

    authority: str
    log: Path

    def asked(self) -> list[str]:
        """Method, target and what was sent as a login for the proxy and for the server."""
        return self.log.read_text().splitlines()


@contextlib.contextmanager
def proxy(place: Path, hosts: Mapping[str, str], login: str = "") -> Iterator[Proxy]:
    """A proxy for some hosts, until the block ends; ``login`` is ``user:password``, or nothing."""
    log = place / "proxy.log"
    log.write_text("")
    words = [sys.executable, "-m", "tests.proxy", str(log), login]
    words += [f"{host}={address}" for host, address in hosts.items()]
    with subprocess.Popen(
        words, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield Proxy(f"127.0.0.1:{int(process.stdout.readline())}", log)
        finally:
            process.kill()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hosts: dict[str, tuple[str, int]] = {}
    login = ""
    log = ""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on stderr."""

    def _admitted(self) -> bool:
        sent = [self.headers.get(name, "-") for name in ("Proxy-Authorization", "Authorization")]
        with open(self.log, "a") as file:
            file.write(f"{self.command} {self.path} {sent[0]} {sent[1]}\n")
        wanted = "Basic " + base64.b64encode(self.login.encode()).decode()
        if not self.login or sent[0] == wanted:
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_GET(self) -> None:
        if not self._admitted():
            return
        url = urlsplit(self.path)
        upstream = HTTPConnection(*self.hosts[url.netloc])
        headers = {n: v for n, v in self.headers.items() if n.lower() not in _HOP}
        upstream.request("GET", url._replace(scheme="", netloc="").geturl(), headers=headers)
        answer = upstream.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.close_connection = True
        if not self._admitted():
            return
        with socket.create_connection(self.hosts[self.path]) as upstream:
            self.send_response(200)
            self.end_headers()
            pairs = {self.connection: upstream, upstream: self.connection}
            while True:
                for ready in select.select([*pairs], [], [])[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    pairs[ready].sendall(data)


def main(log: str, login: str, *hosts: str) -> None:
    """Serve until somebody ends this process."""
    _Handler.log, _Handler.login = log, login
    for word in hosts:
        name, _, address = word.partition("=")
        host, _, port = address.partition(":")
        _Handler.hosts[name] = (host, int(port))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])

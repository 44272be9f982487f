"""Connections are used again where they can be, and nothing is heard twice or by the wrong one."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cwl_userspace.image.connections import Connections, NotConnected
from cwl_userspace.image.transport import Request, Transport
from cwl_userspace.image.trust import context_for

pytestmark = pytest.mark.once


class Server(ThreadingHTTPServer):
    """Answers each request with its path; knows how many connections there were, and closes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.opened = 0
        self.hosts: list[str] = []
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on stderr."""

    def setup(self) -> None:
        self.server.opened += 1
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.server.shutdown_request(self.connection)
        self.server.ended.set()

    def do_GET(self) -> None:
        self.server.hosts.append(self.headers["Host"])
        said = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.send_header("WWW-Authenticate", 'Basic realm="one"')
        self.send_header("WWW-Authenticate", 'Bearer realm="two"')
        self.end_headers()
        self.wfile.write(said)
        # After the answer, as a server that is tired of waiting: it says nothing of it before.
        self.close_connection = self.path == "/last"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.02,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def connections() -> Connections:
    return Connections((20, 20), lambda authority: context_for(authority, insecure=False))


def heard(connections: Connections, url: str) -> bytes:
    with contextlib.closing(connections.ask("GET", url, {}, None)) as response:
        assert response.status == 200
        return response.read(100)


def test_one_connection_serves_one_request_after_the_other(
    server: Server, connections: Connections
) -> None:
    assert [heard(connections, f"{server.url}/{n}") for n in range(3)] == [b"/0", b"/1", b"/2"]
    assert server.opened == 1
    assert set(server.hosts) == {server.url.removeprefix("http://")}


def test_an_answer_that_is_still_to_be_read_shares_its_connection_with_nobody(
    server: Server, connections: Connections
) -> None:
    first = connections.ask("GET", f"{server.url}/first", {}, None)
    assert heard(connections, f"{server.url}/second") == b"/second"
    assert first.read(100) == b"/first"
    first.close()
    assert server.opened == 2


def test_a_connection_that_was_left_unread_is_not_used_again(
    server: Server, connections: Connections
) -> None:
    connections.ask("GET", f"{server.url}/unread", {}, None).close()
    assert heard(connections, f"{server.url}/next") == b"/next"
    assert server.opened == 2


def test_a_connection_that_the_server_has_closed_meanwhile_is_not_used_again(
    server: Server, connections: Connections
) -> None:
    assert heard(connections, f"{server.url}/last") == b"/last"
    assert server.ended.wait(20)
    assert heard(connections, f"{server.url}/next") == b"/next"
    assert server.opened == 2


def test_headers_of_one_name_are_one_list(server: Server, connections: Connections) -> None:
    response = connections.ask("GET", f"{server.url}/", {}, None)
    assert response.header("www-authenticate") == 'Basic realm="one", Bearer realm="two"'
    assert response.header("no-such-header") == ""
    response.close()


def test_a_fragment_and_an_empty_path_are_not_sent_as_they_are(
    server: Server, connections: Connections
) -> None:
    assert heard(connections, f"{server.url}?a=b#there") == b"/?a=b"


def test_where_nobody_listens_the_cause_is_known(connections: Connections) -> None:
    with Server() as gone:
        url = gone.url
    with pytest.raises(NotConnected) as caught:
        connections.ask("GET", url, {}, None)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert not caught.value.proxy


def test_idle_connections_are_closed_with_who_has_them(
    server: Server,
) -> None:
    """At once: the collector of circles may rest for long."""
    transport = Transport("a registry", server.url)
    response = transport.send(Request(f"{server.url}/only", {}))
    assert response.read(100) == b"/only"
    response.close()
    gc.disable()
    try:
        del response, transport
        assert server.ended.wait(20)
    finally:
        gc.enable()

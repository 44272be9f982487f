"""Connections to servers of http and https, direct or through a proxy, each used again.

http.client does the talking. What is left to us is less than importing a larger library takes,
which is a tenth of the time that a small image takes to come.
"""

from __future__ import annotations

import select
import ssl
import threading
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import NamedTuple
from urllib.parse import urlsplit

from cwl_userspace.image.addresses import authority_of, origin
from cwl_userspace.image.proxies import Proxy, proxy_for

# Connecting, and silence between two pieces of a body, in seconds.
Timeouts = tuple[float, float]


class NotConnected(Exception):
    """There is no connection; the cause says why. ``proxy`` if one was to make it."""

    def __init__(self, proxy: bool) -> None:
        super().__init__()
        self.proxy = proxy


class NotSecured(Exception):
    """There is a connection, but no TLS on it; the cause says why."""


class Response:
    """An answer whose body is still to be read, or to be closed."""

    def __init__(self, answer: HTTPResponse, url: str, done: Callable[[], None]) -> None:
        self.status = answer.status
        self.reason = answer.reason
        self.url = url
        self._answer = answer
        self._done: Callable[[], None] | None = done

    def header(self, name: str) -> str:
        """The value of a header; those of the same name are one list (RFC 9110, 5.2)."""
        return ", ".join(self._answer.headers.get_all(name, []))

    def read(self, most: int) -> bytes:
        """The next bytes of the body, none at its end; raise OSError or HTTPException."""
        return self._answer.read(most)

    def close(self) -> None:
        """Let the connection serve another request, or be closed if this has not been read."""
        if self._done is not None:
            done, self._done = self._done, None
            done()
            self._answer.close()


class _Route(NamedTuple):
    """Where a connection leads, and through what."""

    scheme: str
    host: str
    port: int
    proxy: Proxy | None


class Connections:
    """Asks any server; ``context`` gives how TLS is spoken with one. Safe for several threads."""

    def __init__(self, timeouts: Timeouts, context: Callable[[str], ssl.SSLContext]) -> None:
        self._timeouts = timeouts
        self._context = context
        self._lock = threading.Lock()
        self._idle: dict[_Route, list[_Connection]] = {}

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        """The answer to one request, redirects and faults included.

        Raise NotConnected, NotSecured, OSError or HTTPException; ValueError for a host name that
        DNS cannot have, SettingsError for a proxy or certificates that cannot be used.
        """
        scheme, host, port = origin(url)
        assert port is not None
        route = _Route(scheme, host, port, proxy_for(url))
        target = urlsplit(url)._replace(fragment="")
        sent = {"Host": authority_of(url), **headers}
        if route.proxy is None or scheme == "https":
            target = target._replace(scheme="", netloc="", path=target.path or "/")
        elif route.proxy.login:
            sent["Proxy-Authorization"] = route.proxy.login
        connection = self._take(route) or _Connection(route, self._timeouts, self._context, url)
        try:
            connection.request(method, target.geturl(), body, sent)
            answer = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        return Response(answer, url, lambda: self._put(route, connection, answer))

    def _take(self, route: _Route) -> _Connection | None:
        """An idle connection that the other side has not closed meanwhile."""
        with self._lock:
            idle = self._idle.get(route, [])
            while idle:
                connection = idle.pop()
                if not connection.is_over():
                    return connection
                connection.close()
        return None

    def _put(self, route: _Route, connection: _Connection, answer: HTTPResponse) -> None:
        if connection.sock is None or not answer.isclosed():
            connection.close()
            return
        with self._lock:
            self._idle.setdefault(route, []).append(connection)


class _Connection(HTTPConnection):
    """A connection along a route, which TLS is put upon where the route wants it."""

    def __init__(
        self,
        route: _Route,
        timeouts: Timeouts,
        context: Callable[[str], ssl.SSLContext],
        url: str,
    ) -> None:
        first = route.proxy or route
        super().__init__(first.host, first.port, timeout=timeouts[0])
        self._route = route
        self._patience = timeouts[1]
        self._secure = context
        self._authority = authority_of(url)
        if route.proxy is not None and route.scheme == "https":
            login = {"Proxy-Authorization": route.proxy.login} if route.proxy.login else {}
            self.set_tunnel(route.host, route.port, login)

    def connect(self) -> None:
        """Connect, by CONNECT (RFC 9110, 9.3.6) where there is a proxy, and speak TLS."""
        try:
            super().connect()
        except (OSError, HTTPException) as error:
            raise NotConnected(self._route.proxy is not None) from error
        if self._route.scheme == "https":
            try:
                context = self._secure(self._authority)
                self.sock = context.wrap_socket(self.sock, server_hostname=self._route.host)
            except OSError as error:
                raise NotSecured from error
        self.sock.settimeout(self._patience)

    def __del__(self) -> None:
        """Close what was still to serve when nobody can ask any more."""
        self.close()

    def is_over(self) -> bool:
        """True if the other side has closed the connection, or says what nobody has asked for."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

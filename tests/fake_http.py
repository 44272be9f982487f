"""The HTTP side of the registry in ``fake_registry``: what it says, and how it misbehaves."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.fake_faults import Faults


class Recorded(NamedTuple):
    """A request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str


class State:
    """What the server serves and what it has seen."""

    def __init__(self, certificate: tuple[str, str] | None = None, port: int = 0) -> None:
        self.greetings = 0  # connections that did not begin in HTTP
        self.faults = Faults()
        self.requests: list[Recorded] = []
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.tokens: dict[str, int] = {}  # of this token server, with the uses left
        self.issuer: State = self  # whose tokens are good here
        self.lock = threading.Lock()
        self.server = Server(self, port)
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            # The handshake belongs to the connection's thread, not to the one that accepts.
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.scheme = "https"

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, registry: State, port: int) -> None:
        self.registry = registry
        self.connections: list[socket.socket] = []
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        for connection in self.connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def registry(self) -> State:
        assert isinstance(self.server, Server)
        return self.server.registry

    def parse_request(self) -> bool:
        good = super().parse_request()
        self.registry.greetings += not good
        return good

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on stderr."""

    def do_GET(self) -> None:
        self._record("")
        if urlsplit(self.path).path == "/token":
            return self._token(parse_qs(urlsplit(self.path).query))
        if self._fails() or not self._authorised():
            return None
        if self.path in self.registry.faults.redirects:
            location = self.registry.faults.redirects[self.path]
            return self._answer(301, b"moved", {"Location": location})
        if self.path == "/v2/":
            return self._answer(200, b"{}", {"Content-Type": "application/json"})
        path, _, selector = urlsplit(self.path).path.rpartition("/")
        name, _, room = path.rpartition("/")
        name = name.partition("/v2/")[2]
        if selector == "_catalog":
            return self._listing("repositories", {name for name, _ in self.registry.manifests})
        if f"{room}/{selector}" == "tags/list":
            found = {tag for known, tag in self.registry.manifests if known == name}
            return self._listing("tags", {tag for tag in found if not tag.startswith("sha256:")})
        if room == "manifests":
            return self._manifest(name, selector)
        if room == "blobs":
            return self._blob(selector)
        return self._error(404, "UNSUPPORTED", "no such page")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self._record(body)
        faults, form = self.registry.faults, parse_qs(body)
        if not faults.oauth:
            return self._error(404, "UNSUPPORTED", "no such page")
        if form.get("refresh_token") != [faults.identity_token]:
            return self._error(401, "UNAUTHORIZED", "no such identity token")
        return self._issue(form.get("scope", [""])[0])

    def _record(self, body: str) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.registry.lock:
            self.registry.requests.append(Recorded(self.command, self.path, headers, body))

    def _fails(self) -> bool:
        faults = self.registry.faults
        with self.registry.lock:
            hit = faults.fail > 0
            faults.fail -= hit
        if hit:
            extra = {"Retry-After": faults.retry_after} if faults.retry_after else {}
            extra |= {"RateLimit-Limit": faults.limit} if faults.limit else {}
            self._error(faults.status, "TOOMANYREQUESTS", faults.message, extra)
        return hit

    def _token(self, query: Mapping[str, list[str]]) -> None:
        login = self.registry.faults.login
        if login is not None and self.headers.get("Authorization") != basic(*login):
            return self._error(401, "UNAUTHORIZED", "incorrect username or password")
        return self._issue(query.get("scope", [""])[0])

    def _issue(self, scope: str) -> None:
        registry = self.registry
        with registry.lock:
            token = f"token-{len(registry.tokens) + 1}-for-{scope}"
            registry.tokens[token] = registry.faults.token_uses
        reply = registry.faults.token_reply or {"token": token}
        text = json.dumps(reply).replace("TOKEN", token).encode()
        return self._answer(200, text, {"Content-Type": "application/json"})

    def _authorised(self) -> bool:
        faults, sent = self.registry.faults, self.headers.get("Authorization", "")
        if not faults.auth:
            return True
        if faults.auth == "basic" and faults.login and sent == basic(*faults.login):
            return True
        error = ""
        if faults.auth == "bearer":
            issuer, token = self.registry.issuer, sent.removeprefix("Bearer ")
            with issuer.lock:
                uses = issuer.tokens.get(token, 0)
                if uses > 0:
                    issuer.tokens[token] = uses - 1
                narrow = faults.narrow_tokens > 0 and uses > 0
                faults.narrow_tokens -= narrow
            if uses > 0 and not narrow:
                return True
            error = ',error="insufficient_scope"' if narrow else ""
        self._error(401, "UNAUTHORIZED", "authentication required", self._challenge(error))
        return False

    def _challenge(self, error: str) -> dict[str, str]:
        faults = self.registry.faults
        if faults.auth not in ("basic", "bearer", "deny"):
            return {"WWW-Authenticate": faults.auth}
        if faults.auth == "basic":
            return {"WWW-Authenticate": 'Basic realm="fake"'}
        realm = faults.realm or f"{self.registry.url}/token"
        name = self.path.partition("/v2/")[2].rpartition("/")[0].rpartition("/")[0]
        scope = f',scope="repository:{name}:pull"' if name else ""
        text = f'Bearer realm="{realm}",service="fake, Inc."{scope}{error}'
        return {"WWW-Authenticate": text}

    def _listing(self, key: str, names: set[str]) -> None:
        """A page of names, as long as is asked for and as the registry allows."""
        faults = self.registry.faults
        query = parse_qs(urlsplit(self.path).query)
        last, wanted = query.get("last", [""])[0], int(query.get("n", ["100"])[0])
        after = sorted(name for name in names if name > last)
        page = after[: min(wanted, faults.page or wanted)]
        if faults.new_names:
            first = int(last.rpartition("-")[2] or 0) + 1
            numbers = range(first, first + faults.new_names)
            page = [f"{faults.new_name}{number}" for number in numbers]
        raw = json.dumps({key: page}).encode()
        self._answer(200, raw, {"Content-Type": "application/json"})

    def _manifest(self, name: str, selector: str) -> None:
        faults = self.registry.faults
        if faults.redirect_manifests:
            return self._redirect(faults.redirect_manifests)
        found = self.registry.manifests.get((name, selector))
        if found is None or selector in faults.missing:
            return self._error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        if faults.endless:
            return self._endless()
        kind, raw = found
        # The digest header is a lie on purpose: nobody may trust it.
        headers = {"Docker-Content-Digest": selector if ":" in selector else sha256(b"")}
        return self._answer(200, raw, {"Content-Type": faults.content_type or kind, **headers})

    def _endless(self) -> None:
        self.close_connection = True
        self._head(200, {})
        while self.registry.faults.endless:
            self.wfile.write(b" " * (1 << 20))
            self.registry.faults.endless -= 1

    def _blob(self, digest: str) -> None:
        faults = self.registry.faults
        raw = self.registry.blobs.get(digest)
        if raw is None or digest in faults.missing:
            return self._error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if faults.redirect:
            return self._redirect(faults.redirect)
        if faults.corrupt:
            raw = bytes([raw[0] ^ 1]) + raw[1:]
        raw += faults.append
        first = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        if not first or not faults.ranges:
            return self._body(200, raw, {})
        if first >= len(raw):
            return self._error(416, "RANGE_INVALID", "there is no such byte")
        first += faults.wrong_range
        return self._body(
            206, raw[first:], {"Content-Range": f"bytes {first}-{len(raw) - 1}/{len(raw)}"}
        )

    def _body(self, status: int, raw: bytes, headers: dict[str, str]) -> None:
        faults = self.registry.faults
        with self.registry.lock:
            hit = faults.body_fail > 0
            faults.body_fail -= hit
        if not hit:
            return self._answer(status, raw, headers)
        if faults.encoding_label:
            headers["Content-Encoding"] = faults.encoding_label
        if faults.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
            raw = b"".join(_chunk(raw[at : at + 1000]) for at in range(0, len(raw), 1000))
            raw += _chunk(b"")
        elif faults.framing == "length":
            headers["Content-Length"] = str(len(raw) + faults.length_delta)
        if faults.framing == "none" or faults.length_delta:
            self.close_connection = True
        self._head(status, headers)
        time.sleep(faults.stall)
        end = faults.reset_at if faults.reset_at is not None else faults.end_at
        self.wfile.write(raw[:end])
        if end is not None and end < len(raw):
            self._hang_up(reset=faults.reset_at is not None)

    def _hang_up(self, reset: bool) -> None:
        self.close_connection = True
        if reset:
            # What was written must have been read before the reset, which overtakes it.
            end = time.monotonic() + 10
            while _unread(self.connection) and time.monotonic() < end:
                time.sleep(0.01)
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.rfile.close()
            self.connection.close()

    def _redirect(self, base: str) -> None:
        self._answer(307, b"moved", {"Location": base + ("" if "?" in base else self.path)})

    def _error(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        text = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self._answer(status, text, {"Content-Type": "application/json", **(headers or {})})

    def _answer(self, status: int, raw: bytes, headers: Mapping[str, str]) -> None:
        self._head(status, {"Content-Length": str(len(raw)), **headers})
        self.wfile.write(raw)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _unread(connection: socket.socket) -> bool:
    """True while the other end, which is on this host, has not read all that was written."""
    sides = [_in_proc(connection.getpeername()), _in_proc(connection.getsockname())]
    with open("/proc/net/tcp") as file:
        lines = [line.split() for line in file]
    there = [words[4] for words in lines if words[1:3] == sides]
    here = [words[4] for words in lines if words[1:3] == sides[::-1]]
    # What is left to send here, and to read there, in hexadecimal digits.
    return any(text[:8] != "0" * 8 for text in here) or any(text[9:] != "0" * 8 for text in there)


def _in_proc(address: tuple[str, int]) -> str:
    return f"{socket.inet_aton(address[0])[::-1].hex().upper()}:{address[1]:04X}"


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _chunk(raw: bytes) -> bytes:
    return f"{len(raw):x}\r\n".encode() + raw + b"\r\n"


def sha256(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"

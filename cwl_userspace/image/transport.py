"""HTTP for registries: redirects, retries, and what may be asked of whom."""

from __future__ import annotations

import email.utils
import json
import random
import re
import ssl
import time
from collections.abc import Callable, Generator, Mapping
from functools import partial
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlencode

from cwl_userspace import __version__
from cwl_userspace.errors import RegistryError
from cwl_userspace.image.addresses import (
    authority_of,
    host_of,
    is_plain_url,
    origin,
    reach_of,
    resolved,
)
from cwl_userspace.image.connections import (
    Connections,
    NotConnected,
    NotSecured,
    Response,
    Timeouts,
)
from cwl_userspace.image.neterrors import (
    HandshakeCut,
    Interrupted,
    broken_body,
    explain,
    printable,
    proxy_login,
)
from cwl_userspace.image.trust import context_for

TIMEOUTS: Timeouts = (30.0, 60.0)
ATTEMPTS = 5
_REDIRECTS = 5
_REDIRECT_CODES = (301, 302, 303, 307, 308)
_RETRIED_CODES = (408, 429, 500, 502, 503, 504)
_PROXY_LOGIN = 407
_TOO_MANY_REQUESTS = 429
# A registry that wants more patience than this is given up at once.
_LONGEST_PAUSE = 60.0
_LIMIT = re.compile(r"([0-9]{1,9})\s*;\s*w=([0-9]{1,9})")
_ERROR_BODY = 16 << 10
Sleep = Callable[[float], None]


class Request(NamedTuple):
    """A GET, or a POST where there is a form.

    ``pinned`` if a digest will verify the answer, ``probe`` if the server may turn out to speak
    plain http.
    """

    url: str
    headers: Mapping[str, str]
    form: Mapping[str, str] | None = None
    pinned: bool = False
    probe: bool = False


class Transport:
    """Sends requests for the registry whose base URL is given, and keeps its connections."""

    def __init__(
        self,
        label: str,
        base: str,
        *,
        insecure: bool = False,
        sleep: Sleep = time.sleep,
        timeouts: Timeouts = TIMEOUTS,
    ) -> None:
        self.label = label
        self.sleep = sleep
        self._home = host_of(base)
        self._authority = authority_of(base)
        # Not a method of ours: in a circle of references idle connections would stay open.
        secure = partial(_context, self._home if insecure else "")
        self._connections = Connections(timeouts, secure)

    def send(self, request: Request) -> Response:
        """The final answer after redirects and retries, whatever its status; body not yet read.

        Raise RegistryError where there is none, or only 429 and 5xx.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = self._follow(request)
            except Interrupted as error:
                if attempt == ATTEMPTS or (request.probe and isinstance(error, HandshakeCut)):
                    raise
                self.sleep(backoff(attempt))
                continue
            if response.status == _PROXY_LOGIN:
                response.close()
                raise proxy_login(self.label)
            if response.status not in _RETRIED_CODES:
                return response
            pause = _pause(response, attempt)
            if attempt == ATTEMPTS or pause > _LONGEST_PAUSE:
                raise self._given_up(response, attempt, pause)
            response.close()
            self.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _follow(self, request: Request) -> Response:
        url, headers = request.url, dict(request.headers)
        for _ in range(_REDIRECTS + 1):
            response = self._send_once(url, headers, request.form)
            if response.status not in _REDIRECT_CODES or request.form is not None:
                return response
            target = self._target(url, response.header("Location"), request.pinned)
            error_text(response)  # a short body read to its end leaves the connection usable
            if origin(target) != origin(url):
                headers.pop("Authorization", None)
            url = target
        raise RegistryError(
            f"{self.label} redirects more than {_REDIRECTS} times", "tell who runs the registry"
        )

    def _target(self, url: str, location: str, pinned: bool) -> str:
        """Where a redirect leads; raise RegistryError for a place that it must not lead to."""
        target = resolved(url, location)
        problem = ""
        if not location or not is_plain_url(target):
            problem = "which is not an http address"
        elif reach_of(host_of(target)) > reach_of(self._home):
            problem = "an address inside this network"
        elif url.startswith("https:") and target.startswith("http:") and not pinned:
            problem = "away from TLS, and no digest protects the answer"
        if problem:
            raise RegistryError(
                f"{self.label} redirects to {printable(location)!r}, {problem}",
                "tell who runs the registry",
            )
        return target

    def _send_once(
        self, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> Response:
        # identity: a proxy that compresses would change the bytes that are hashed.
        common = {"User-Agent": f"cwl-userspace/{__version__}", "Accept-Encoding": "identity"}
        body = None
        if form is not None:
            body = urlencode(form).encode()
            common["Content-Type"] = "application/x-www-form-urlencoded"
        method = "GET" if form is None else "POST"
        try:
            return self._connections.ask(method, url, {**common, **headers}, body)
        except (NotConnected, NotSecured, OSError, HTTPException, ValueError) as error:
            raise explain(error, self.name_of(url), url) from None

    def name_of(self, url: str) -> str:
        """How messages name the host of a URL, which may be one that we were sent to."""
        host = authority_of(url)
        return self.label if host == self._authority else f"{host}, where {self.label} sends us,"

    def _given_up(self, response: Response, attempts: int, pause: float) -> RegistryError:
        said = error_text(response)
        status = response.status
        if status == _TOO_MANY_REQUESTS:
            asked = f", and asks to wait {pause:.0f} s" if pause > _LONGEST_PAUSE else ""
            return RegistryError(
                f"{self.label} limits the rate of requests (429 Too Many Requests)"
                f"{_allowed(response)}{asked}{said}",
                "try again later, log in to be allowed more (cwl-userspace login), or set a mirror",
            )
        times = f", {attempts} times" if attempts > 1 else ""
        return RegistryError(
            f"{self.label} answers {status} {printable(response.reason)}{times}{said}",
            "the fault is on its side: try again later, or set a mirror",
        )


def _context(insecure: str, authority: str) -> ssl.SSLContext:
    """How TLS is spoken with a host; the one named ``insecure`` need not prove who it is."""
    return context_for(authority, insecure=host_of(f"https://{authority}") == insecure != "")


def body(response: Response, label: str, chunk: int) -> Generator[bytes, None, None]:
    """The bytes of an answer as they were sent; raise Interrupted where some are missing."""
    stated = response.header("Content-Length")
    missing = int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 20 else 0
    try:
        while piece := response.read(chunk):
            missing -= len(piece)
            yield piece
    except (HTTPException, OSError) as error:
        raise broken_body(error, label) from None
    finally:
        response.close()
    # http.client takes a short body for a whole one.
    if missing > 0:
        raise broken_body(EOFError(f"{missing} bytes are missing"), label)


def bounded(response: Response, label: str, limit: int) -> bytes:
    """The body of an answer, at most ``limit`` and one bytes of it."""
    parts: list[bytes] = []
    pieces = body(response, label, 64 << 10)
    total = 0
    for piece in pieces:
        parts.append(piece)
        total += len(piece)
        if total > limit:
            break
    response.close()
    return b"".join(parts)[: limit + 1]


def error_text(response: Response) -> str:
    """What the registry says about its refusal, as ``: words``, and close the response."""
    try:
        raw = bounded(response, "", _ERROR_BODY)
        document: Any = json.loads(raw)
        first = document["errors"][0] if "errors" in document else document
        words = first.get("message") or first.get("code") or first.get("details")
    except (RegistryError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return ""
    return f": {printable(words)}" if isinstance(words, str) and words.strip() else ""


def backoff(attempt: int, first: float = 0.25) -> float:
    """Seconds before the next attempt: doubling, with jitter so that clients do not march."""
    return float(first * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))


def _pause(response: Response, attempt: int) -> float:
    """Retry-After in seconds or as a date (RFC 9110, 10.2.3), else an exponential pause."""
    text = response.header("Retry-After").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError):
        return backoff(attempt, 1.0 if response.status == _TOO_MANY_REQUESTS else 0.25)


def _allowed(response: Response) -> str:
    """What Docker's hub says of its limit: ``100;w=21600`` is a hundred in six hours."""
    match = _LIMIT.match(response.header("RateLimit-Limit"))
    if match is None:
        return ""
    return f", which are {match[1]} in {int(match[2]) / 3600:.3g} h"

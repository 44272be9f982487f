"""Which proxy stands between this host and an address, by the variables that curl looks at, too."""

from __future__ import annotations

import ipaddress
import os
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from cwl_userspace.errors import SettingsError
from cwl_userspace.image.addresses import host_of, is_loopback, origin

_PORT = 80


class Proxy(NamedTuple):
    """A proxy that is asked in plain http, and who we are to it (RFC 7617), or nothing."""

    host: str
    port: int
    login: str


def proxy_for(url: str) -> Proxy | None:
    """The proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, in small letters first; None if NO_PROXY
    names the host, or it is this very machine, which a proxy cannot reach.

    Raise SettingsError for a proxy that is not asked in plain http.
    """
    if not any(name.lower().endswith("_proxy") for name in os.environ) or is_loopback(host_of(url)):
        return None
    from urllib.request import getproxies_environment

    found = getproxies_environment()
    named = found.get(urlsplit(url).scheme) or found.get("all")
    if not named or _is_excepted(url, found.get("no", "")):
        return None
    return _proxy(named if "://" in named else f"http://{named}")


def _proxy(named: str) -> Proxy:
    parts = urlsplit(named)
    try:
        port = parts.port or _PORT
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise SettingsError(
            f"{shown!r} is not a proxy that can be asked here",
            "expected http://[USER:PASSWORD@]HOST:PORT in HTTPS_PROXY and HTTP_PROXY",
        )
    login = ""
    if parts.username is not None:
        import base64

        words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = "Basic " + base64.b64encode(words.encode()).decode()
    return Proxy(parts.hostname, port, login)


def _is_excepted(url: str, exceptions: str) -> bool:
    """True if NO_PROXY names the host, a domain that it is in, or a network (CIDR) of its."""
    _, host, port = origin(url)
    for entry in exceptions.replace(" ", "").lower().split(","):
        name = entry.removeprefix("*").lstrip(".")
        if entry == "*" or (name and _matches(host, port, name)):
            return True
    return False


def _matches(host: str, port: int | None, name: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name.strip("[]"), strict=False)
    except ValueError:
        return any(
            where == name or where.endswith(f".{name}") for where in (host, f"{host}:{port}")
        )

"""How near a host is, judged by its name alone: public, private or this very machine.

The surprise: the C library takes ``127.1``, ``0x7f000001`` and ``2130706433`` for addresses as
well, so a check that knows only the usual spelling is no check.
"""

from __future__ import annotations

import ipaddress
import socket
from enum import IntEnum
from urllib.parse import urljoin, urlsplit

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_PORTS = {"http": 80, "https": 443}


class Reach(IntEnum):
    """The greater, the nearer; what is far away must not send us to something nearer."""

    PUBLIC = 0
    PRIVATE = 1
    LOCAL = 2


def reach_of(host: str) -> Reach:
    """Where a host name or an address literal leads; names are public unless localhost."""
    if _is_localhost(host):
        return Reach.LOCAL
    address = _literal(host)
    if address is None:
        return Reach.PUBLIC
    # Link-local holds the clouds' metadata services: as sensitive as loopback.
    if address.is_loopback or address.is_link_local or address.is_unspecified:
        return Reach.LOCAL
    return Reach.PUBLIC if address.is_global and not address.is_reserved else Reach.PRIVATE


def is_loopback(host: str) -> bool:
    """True for localhost, ::1 and 127.0.0.0/8, where Docker allows plain http."""
    address = _literal(host)
    return _is_localhost(host) or (address is not None and address.is_loopback)


def host_of(url: str) -> str:
    """The host of a URL in lower case, an IPv6 address without brackets."""
    return (urlsplit(url).hostname or "").rstrip(".")


def authority_of(url: str) -> str:
    """The host of a URL with the port if it states one, as a registry is written in a name."""
    return urlsplit(url).netloc.lower()


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what must stay the same for credentials to go along (RFC 6454)."""
    parts = urlsplit(url)
    return parts.scheme, host_of(url), parts.port or _PORTS.get(parts.scheme)


def is_plain_url(url: str) -> bool:
    """True for http and https URLs that every parser reads alike: no user, space, backslash."""
    try:
        parts = urlsplit(url)
        port_is_number = parts.port is None or parts.port >= 0
    except ValueError:
        return False
    simple = all("!" <= c <= "~" and c != "\\" for c in url) and "@" not in parts.netloc
    return simple and port_is_number and parts.scheme in ("http", "https") and bool(parts.hostname)


def resolved(url: str, location: str) -> str:
    """An address that an answer from ``url`` names, made absolute; as it is if it is none."""
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def _is_localhost(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def _literal(host: str) -> _Address | None:
    text = host.strip("[]").rstrip(".").partition("%")[0]
    try:
        address: _Address = ipaddress.ip_address(text)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(text))
        except (OSError, ValueError):
            return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address

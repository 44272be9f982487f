"""What went wrong on the network, as one sentence of ours instead of four nested exceptions."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from http.client import InvalidURL

from cwl_userspace.errors import RegistryError
from cwl_userspace.image.connections import NotConnected, NotSecured
from cwl_userspace.image.plain import PLAIN_ANSWER

# A host name that DNS cannot have is a UnicodeError.
_NO_ADDRESS = (ValueError, InvalidURL)
# OpenSSL's verify codes, x509_vfy.h.
_EXPIRED = (9, 10)
_WRONG_HOST = (62, 64)


class Interrupted(RegistryError):
    """A connection that broke or fell silent; worth another try."""


class Unreachable(RegistryError):
    """Nobody answers at that address."""


class NotTls(RegistryError):
    """Somebody answers, but not in TLS."""


class HandshakeCut(Interrupted):
    """The other side hung up during the TLS handshake: a fault, or plain http."""


def explain(error: Exception, where: str, url: str) -> RegistryError:
    """The error that says why a request to ``url`` failed; ``where`` names its host."""
    cause = error.__cause__
    if isinstance(error, NotSecured) and isinstance(cause, ssl.SSLError | TimeoutError):
        return _tls(cause, where)
    if isinstance(error, NotConnected) and error.proxy:
        if " 407 " in str(cause):  # http.client has it in words alone
            return proxy_login(where)
        return _unreachable(
            error,
            f"{where} cannot be reached through the proxy: {_reason(error)}",
            "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
        )
    if isinstance(error, NotConnected):
        return _unreachable(
            error,
            f"{where} cannot be reached: {_reason(error)}",
            "check the network, HTTPS_PROXY and NO_PROXY, or set a mirror",
        )
    if isinstance(error, _NO_ADDRESS):
        return RegistryError(f"{url!r:.200} is not an address that can be asked", "check its host")
    return Interrupted(f"the connection to {where} broke: {_reason(error)}", "try again")


def _unreachable(error: NotConnected, words: str, hint: str) -> RegistryError:
    """Nobody can be asked; worth another try if the servers of names alone failed us."""
    cause = error.__cause__
    temporary = isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN
    return (Interrupted if temporary else Unreachable)(words, hint)


def proxy_login(where: str) -> Unreachable:
    """The error for a proxy that asks who we are, or does not take what the variable says."""
    return Unreachable(
        f"{where} cannot be reached: the proxy wants a login, or another one",
        "put it into HTTPS_PROXY and HTTP_PROXY: http://user:password@HOST:PORT",
    )


def broken_body(error: Exception, where: str) -> Interrupted:
    """The error for a body whose bytes stopped coming."""
    return Interrupted(f"{where} broke off: {_reason(error)}", "try again")


def printable(text: object) -> str:
    """A short text from outside without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in str(text)).strip()[:200]


def _tls(error: Exception, where: str) -> RegistryError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error, where)
    text = str(error)
    if any(sign in text for sign in PLAIN_ANSWER):
        return NotTls(
            f"{where} does not speak TLS",
            "if it is meant to speak plain http, give it `insecure: true` in the configuration",
        )
    if "EOF" in text:
        return HandshakeCut(f"{where} hung up during the TLS handshake", "try again")
    if "timed out" in text:
        return Interrupted(f"{where} does not answer in TLS: timed out", "try again")
    return RegistryError(f"TLS with {where} fails: {_reason(error)}", "check the CA certificates")


def _certificate(error: ssl.SSLCertVerificationError, where: str) -> RegistryError:
    if error.verify_code in _WRONG_HOST:
        return _wrong_host(where)
    if error.verify_code in _EXPIRED:
        return RegistryError(
            f"the certificate of {where} is out of date: {error.verify_message}",
            "check the clock of this host and the certificate",
        )
    return RegistryError(
        f"the certificate of {where} is signed by an unknown authority: {error.verify_message}",
        "name a file with its CA certificate in REQUESTS_CA_BUNDLE or SSL_CERT_FILE",
    )


def _wrong_host(where: str) -> RegistryError:
    return RegistryError(
        f"the certificate of {where} is for another host name",
        "use the name that the certificate has; somebody may be in between",
    )


def _reason(error: Exception) -> str:
    """The system's own words where there are some, without addresses of Python objects."""
    for cause in _chain(error):
        if isinstance(cause, TimeoutError) or "timed out" in str(cause).lower():
            return "timed out"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    innermost = list(_chain(error))[-1]
    return printable(str(innermost).rpartition(": ")[2]) or type(innermost).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it was raised for."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__

"""Proves to a registry who we are: nothing first, then what its 401 asks for.

Sources: RFC 7235 (challenges), RFC 6750 (Bearer), and the distribution project's "Token
Authentication Specification" and "OAuth2 token" pages.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from cwl_userspace.errors import AuthenticationError, RegistryError
from cwl_userspace.image.addresses import host_of, is_loopback, is_plain_url, reach_of
from cwl_userspace.image.connections import Response
from cwl_userspace.image.credentials import Credentials, Login
from cwl_userspace.image.neterrors import printable
from cwl_userspace.image.transport import (
    Request,
    Transport,
    bounded,
    error_text,
)

_TOKEN_LIMIT = 1 << 20
_CLIENT = "cwl-userspace"
_PARAMETER = re.compile(r'([^\s,="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^\s,"]*))', re.DOTALL)
_SCHEME = re.compile(r"([^\s,=\"]+)(?:[ \t]+([A-Za-z0-9._~+/-]+=*)(?=[ \t]*(?:,|$)))?")
_SEPARATOR = re.compile(r"[\s,]+")


class Challenge(NamedTuple):
    """One way to log in that a server offers; scheme and parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Read a WWW-Authenticate header (RFC 7235, 4.1), in which commas have two meanings.

    A word with ``=`` after it is a parameter, one without starts the next challenge. Values
    without quotes that need them, and missing commas, are taken as meant.
    """
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while position < len(header):
        if space := _SEPARATOR.match(header, position):
            position = space.end()
            continue
        parameter = _PARAMETER.match(header, position) if found else None
        scheme = None if parameter else _SCHEME.match(header, position)
        if parameter:
            name, quoted, plain = parameter.groups()
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
            found[-1][1].setdefault(name.lower(), value)
        elif scheme:
            found.append((scheme[1].lower(), {}))
        match = parameter or scheme
        position = match.end() if match else position + 1
    return [Challenge(scheme, parameters) for scheme, parameters in found]


class Authenticator:
    """Remembers what each repository of a registry wants to see in ``Authorization``."""

    def __init__(
        self, transport: Transport, registry: str, credentials: Credentials | None = None
    ) -> None:
        self._transport = transport
        self._registry = registry
        self._credentials = credentials or Credentials()
        self._values: dict[str, str] = {}
        self._lock = threading.Lock()

    def value(self, repository: str) -> str | None:
        """The Authorization for a repository, or None as long as nobody has asked for one."""
        return self._values.get(repository)

    def basic(self) -> str:
        """User name and password for a registry that has not asked, or nothing if we have none."""
        login = self._credentials.login(self._registry, "")
        return _basic(login.username, login.password) if login and login.username else ""

    def answer(self, repository: str, response: Response, sent: str | None) -> None:
        """Obtain what a 401 (or a 403 for a narrow token) asks for; ``sent`` did not satisfy it.

        Raise AuthenticationError where there is nothing new to offer.
        """
        offered = parse_challenges(response.header("WWW-Authenticate"))
        said = error_text(response)
        with self._lock:
            if self._values.get(repository) != sent:
                return  # another thread has renewed it meanwhile
            login = self._credentials.login(self._registry, repository)
            value = self._obtain(repository, response.url, offered, login, said)
            if value == sent:
                raise self.refused(repository, said)
            self._values[repository] = value

    def refused(self, repository: str, said: str = "") -> AuthenticationError:
        """The error for a repository that stays closed to us."""
        label = self._transport.label
        login = self._credentials.login(self._registry, repository)
        if not repository:
            return AuthenticationError(f"{label} refuses this login{said}", "nothing was kept")
        if login is not None:
            return AuthenticationError(
                f"{label} refuses access to {repository} with the login in {login.origin}{said}",
                f"log in again (cwl-userspace login {self._registry}) or ask its owner for access",
            )
        files = ", ".join(self._credentials.files) or "no file"
        trouble = f"; {self._credentials.trouble}" if self._credentials.trouble else ""
        return AuthenticationError(
            f"{label} refuses access to {repository} without a login{said}",
            "check the name; if the image is private: cwl-userspace login "
            f"{self._registry}, or name a file with logins in REGISTRY_AUTH_FILE "
            f"(looked in {files}{trouble})",
        )

    def _obtain(
        self,
        repository: str,
        url: str,
        offered: list[Challenge],
        login: Login | None,
        said: str,
    ) -> str:
        by_scheme = {challenge.scheme: challenge for challenge in reversed(offered)}
        bearer, basic = by_scheme.get("bearer"), by_scheme.get("basic")
        if bearer is not None and login is not None and login.registry_token:
            return f"Bearer {login.registry_token}"
        if bearer is not None:
            return f"Bearer {self._token(repository, url, bearer.parameters, login)}"
        if basic is not None and login is not None and login.username:
            return _basic(login.username, login.password)
        if basic is not None or not offered:
            raise self.refused(repository, said)
        names = ", ".join(printable(challenge.scheme) for challenge in offered)
        raise AuthenticationError(
            f"{self._transport.label} wants a login of the kind {names}",
            "only Bearer and Basic are known here",
        )

    def _token(
        self, repository: str, url: str, parameters: Mapping[str, str], login: Login | None
    ) -> str:
        realm = parameters.get("realm", "")
        self._check_realm(realm, url)
        scope = parameters.get("scope") or (repository and f"repository:{repository}:pull")
        query = {"scope": scope} if scope else {}
        if parameters.get("service"):
            query["service"] = parameters["service"]
        response = None
        if login is not None and login.identity_token:
            response = self._exchange(realm, query, login.identity_token)
        if response is None:
            response = self._ask(realm, query, login)
        if response.status in (400, 401, 403):
            raise self.refused(repository, error_text(response))
        if response.status != 200:
            raise RegistryError(
                f"the token server {host_of(realm)} of {self._transport.label} answers "
                f"{response.status}{error_text(response)}",
                "try again later",
            )
        return self._read_token(response, realm)

    def _exchange(
        self, realm: str, query: Mapping[str, str], identity_token: str
    ) -> Response | None:
        """Trade an identity token by OAuth2; None from servers that do not know how (404)."""
        form = {
            "grant_type": "refresh_token",
            "client_id": _CLIENT,
            "refresh_token": identity_token,
            **query,
        }
        response = self._transport.send(Request(realm, {}, form))
        if response.status in (404, 405):
            response.close()
            return None
        return response

    def _ask(self, realm: str, query: Mapping[str, str], login: Login | None) -> Response:
        headers: dict[str, str] = {}
        if login is not None and (login.username or login.identity_token):
            user, password = login.username or "<token>", login.password or login.identity_token
            headers["Authorization"] = _basic(user, password)
            query = {"account": login.username, **query} if login.username else query
        joint = "&" if "?" in realm else "?"
        return self._transport.send(Request(f"{realm}{joint}{urlencode(query)}", headers))

    def _check_realm(self, realm: str, url: str) -> None:
        """A password goes to the realm, so the registry may not name any address it likes."""
        problem = ""
        same_host = is_plain_url(realm) and host_of(realm) == host_of(url)
        if not is_plain_url(realm):
            problem = "which is not an https address"
        elif realm.startswith("http:") and url.startswith("https:"):
            problem = "which is not protected by TLS"
        elif realm.startswith("http:") and not same_host and not is_loopback(host_of(realm)):
            problem = "which is elsewhere and not protected by TLS"
        elif not same_host and reach_of(host_of(realm)) > reach_of(host_of(url)):
            problem = "an address inside this network"
        if problem:
            raise AuthenticationError(
                f"{self._transport.label} sends logins to {printable(realm)!r}, {problem}",
                "no login was sent; tell who runs the registry",
            )

    def _read_token(self, response: Response, realm: str) -> str:
        try:
            document = json.loads(bounded(response, self._transport.label, _TOKEN_LIMIT))
            token = document.get("token") or document.get("access_token")
        except (ValueError, RecursionError, AttributeError):
            token = None
        # Anything else in a header could smuggle in another one.
        if not isinstance(token, str) or not token or not all("!" <= c <= "~" for c in token):
            raise AuthenticationError(
                f"the token server {host_of(realm)} of {self._transport.label} gives no token",
                "its answer has no meaning; try again later",
            )
        return token


def insufficient_scope(response: Response) -> bool:
    """True if the answer says that our token is too narrow (RFC 6750, 3.1)."""
    challenges = parse_challenges(response.header("WWW-Authenticate"))
    return any(c.parameters.get("error") == "insufficient_scope" for c in challenges)


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()

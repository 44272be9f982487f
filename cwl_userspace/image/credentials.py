"""Logins for registries, as ``docker login`` and ``podman login`` keep them.

Nothing is read before a registry asks, so a broken file does not stop a pull that needs none.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cwl_userspace.errors import SettingsError
from cwl_userspace.image import credhelper
from cwl_userspace.reference import DOCKER_HUB

# Docker keeps the login of its hub under the first of these.
_HUB_KEYS = ("index.docker.io", DOCKER_HUB, "registry-1.docker.io")
HUB_SERVER = "https://index.docker.io/v1/"
# A helper that gives this user name means an identity token (docker/cli, types.AuthConfig).
TOKEN_USER = "<token>"
_SIZE_LIMIT = 4 << 20


class Login(NamedTuple):
    """A user name and password, or one of two tokens; ``origin`` says where it was found."""

    origin: str
    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"Login({self.username!r} from {self.origin!r})"


class Credentials:
    """The logins in some files, the first file that has one for a registry deciding.

    ``trouble`` is why a store of logins could not be asked, in words, or nothing.
    """

    def __init__(self, files: Sequence[str] = ()) -> None:
        self.files = tuple(files)
        self.trouble = ""
        self._fixed: Login | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Credentials:
        """The files that Docker and Podman would read, or the one that a variable names."""
        env = os.environ if environ is None else environ
        if env.get("REGISTRY_AUTH_FILE"):
            return cls([env["REGISTRY_AUTH_FILE"]])
        if env.get("DOCKER_CONFIG"):
            return cls([os.path.join(env["DOCKER_CONFIG"], "config.json")])
        home = env.get("HOME") or os.path.expanduser("~")
        files = [os.path.join(home, ".docker", "config.json")]
        if env.get("XDG_RUNTIME_DIR"):
            files.append(os.path.join(env["XDG_RUNTIME_DIR"], "containers", "auth.json"))
        return cls(files)

    @classmethod
    def fixed(cls, login: Login) -> Credentials:
        """This login, whatever is asked for."""
        found = cls()
        found._fixed = login
        return found

    def login(self, registry: str, repository: str) -> Login | None:
        """The login for a repository of a registry (``host`` or ``host:port``), if there is one."""
        if self._fixed is not None:
            return self._fixed
        for path in self.files:
            document = read_file(path)
            if document is not None and (found := self._find(document, path, registry, repository)):
                return found
        return None

    def _find(
        self, document: dict[str, Any], path: str, registry: str, repository: str
    ) -> Login | None:
        """Docker's order: the helper of the registry, the store for all, the file itself."""
        own = _own_helper(document, path, registry)
        if own:
            return _from_helper(own, registry)
        if store := helper_of(document, path, registry):
            try:
                if (found := _from_helper(store, registry)) is not None:
                    return found
            except SettingsError as error:
                # A file copied from a desktop names its key ring, and a key ring may be locked;
                # public images need no login.
                self.trouble = error.message
        auths = _by_name(_object(document.get("auths"), path, "auths"))
        for key in _keys(registry, repository):
            if key in auths:
                return _entry(_object(auths[key], path, f"the entry for {key}"), path, key)
        return None


def read_file(path: str) -> dict[str, Any] | None:
    """What such a file says, or None if there is none; raise SettingsError if it is damaged."""
    hint = "log in again with cwl-userspace login, or mend the file"
    try:
        with open(path, "rb") as file:
            raw = file.read(_SIZE_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsError(
            f"the logins in {path} cannot be read: {error.strerror}", hint
        ) from None
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SettingsError(f"the logins in {path} are not JSON: {reason}", hint) from None
    return _object(document, path, "the file")


def helper_of(document: dict[str, Any], path: str, registry: str) -> str:
    """The credential helper that such a file names for a registry, or nothing."""
    store = document.get("credsStore")
    return _own_helper(document, path, registry) or (store if isinstance(store, str) else "")


def _own_helper(document: dict[str, Any], path: str, registry: str) -> str:
    helpers = _object(document.get("credHelpers"), path, "credHelpers")
    found = (str(helpers[host]) for host in hosts_of(registry) if host in helpers)
    return next(found, "")


def hosts_of(registry: str) -> tuple[str, ...]:
    """All names of a registry; several only for Docker's hub."""
    return _HUB_KEYS if registry in _HUB_KEYS else (registry.lower(),)


def _keys(registry: str, repository: str) -> Iterator[str]:
    """``host/a/b``, ``host/a``, ``host``: the most exact entry wins (containers-auth.json(5))."""
    parts = repository.split("/") if repository else []
    for length in range(len(parts), -1, -1):
        for host in hosts_of(registry):
            yield "/".join([host, *parts[:length]])


def _by_name(auths: dict[str, Any]) -> dict[str, Any]:
    """Entries under plain names; Docker also writes ``https://host/v1/`` for ``host``."""
    names = {key.lower(): entry for key, entry in auths.items() if "://" not in key}
    for key, entry in auths.items():
        names.setdefault(spelled(key), entry)
    return names


def spelled(key: str) -> str:
    """The plain name of an entry: a registry, or a registry and a part of its repositories."""
    if "://" in key:
        return key.partition("://")[2].partition("/")[0].lower()
    return key.lower().rstrip("/").removesuffix("/v1").removesuffix("/v2")


def _entry(entry: dict[str, Any], path: str, key: str) -> Login | None:
    fields = {
        name: _text(entry.get(name), path, f"{name} of {key}")
        for name in ("username", "password", "auth", "identitytoken", "registrytoken")
    }
    username, password = fields["username"], fields["password"]
    if fields["auth"]:
        username, password = _decode(fields["auth"], path, key)
    login = Login(path, username, password, fields["identitytoken"], fields["registrytoken"])
    return _with_token_user(login) if any(login[1:]) else None


def _decode(text: str, path: str, key: str) -> tuple[str, str]:
    try:
        decoded = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        decoded = ""
    username, colon, password = decoded.partition(":")
    if not colon:
        # The value is not shown: it is a secret, if a damaged one.
        raise SettingsError(
            f"the auth of {key} in {path} is not the base64 form of user:password",
            f"log in again: cwl-userspace login {key}",
        )
    return username, password.strip("\x00")


def _from_helper(helper: str, registry: str) -> Login | None:
    server = HUB_SERVER if registry in _HUB_KEYS else registry
    found = credhelper.ask(helper, server)
    if found is None:
        return None
    return _with_token_user(Login(f"the credential helper {helper}", found.username, found.secret))


def _with_token_user(login: Login) -> Login:
    if login.username == TOKEN_USER:
        return Login(login.origin, identity_token=login.password)
    return login


def _object(value: object, path: str, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SettingsError(
            f"{what} in {path} is not a JSON object", "mend the file or log in again"
        )
    return value


def _text(value: object, path: str, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise SettingsError(f"the {what} in {path} is not text", "mend the file or log in again")
    return value

"""Writes the file in which ``docker login`` keeps logins: whole or not at all, mode 0600.

Docker's rules: where the file names a credential helper, that keeps the login, and the file has
an empty entry that says so; all other keys stay as they are.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from typing import Any

from cwl_userspace.errors import SettingsError
from cwl_userspace.image import credhelper
from cwl_userspace.image.credentials import (
    HUB_SERVER,
    TOKEN_USER,
    Login,
    helper_of,
    hosts_of,
    read_file,
    spelled,
)

_KEPT = "the logins were not changed"


def keep(path: str, registry: str, login: Login) -> str:
    """Keep a login for a registry, in place of what was there; return where it is kept.

    Raise SettingsError where the file or the helper that it names cannot be used.
    """
    path = os.path.realpath(path)
    document = read_file(path) or {}
    helper = helper_of(document, path, registry)
    key = HUB_SERVER if len(hosts_of(registry)) > 1 else registry
    username, secret = _pair(login)
    entry: dict[str, Any] = {}
    if helper:
        credhelper.keep(helper, key, credhelper.Secret(username, secret))
    else:
        entry["auth"] = base64.b64encode(f"{username}:{secret}".encode()).decode()
    auths = _without(document, path, registry)
    auths[key] = entry
    _write(path, {**document, "auths": auths})
    return f"the credential helper {helper}" if helper else path


def forget(path: str, registry: str) -> bool:
    """Remove the logins for a registry; False if there was none.

    Raise SettingsError where the file or the helper that it names cannot be used.
    """
    path = os.path.realpath(path)
    document = read_file(path)
    if document is None:
        return False
    helper = helper_of(document, path, registry)
    known = False
    if helper:
        key = HUB_SERVER if len(hosts_of(registry)) > 1 else registry
        known = credhelper.ask(helper, key) is not None
        if known:
            credhelper.forget(helper, key)
    before = _auths(document, path)
    auths = _without(document, path, registry)
    if len(auths) < len(before):
        known = True
        _write(path, {**document, "auths": auths})
    return known


def logins(path: str) -> list[str]:
    """The registries that a file has logins for; raise SettingsError if it is damaged."""
    document = read_file(os.path.realpath(path)) or {}
    return sorted({spelled(key).partition("/")[0] for key in _auths(document, path)})


def _pair(login: Login) -> tuple[str, str]:
    if login.identity_token:
        return TOKEN_USER, login.identity_token
    return login.username, login.password


def _without(document: dict[str, Any], path: str, registry: str) -> dict[str, Any]:
    """The entries of all others; an entry for one repository of the registry is another's, too."""
    auths = _auths(document, path)
    return {key: entry for key, entry in auths.items() if spelled(key) not in hosts_of(registry)}


def _auths(document: dict[str, Any], path: str) -> dict[str, Any]:
    auths = document.get("auths") or {}
    if not isinstance(auths, dict):
        raise SettingsError(f"auths in {path} is not a JSON object", "mend the file")
    return auths


def _write(path: str, document: dict[str, Any]) -> None:
    aside = f"{path}.{os.getpid()}.part"
    # Escapes for all but ASCII: half a surrogate pair, which JSON may hold, has no other form.
    data = (json.dumps(document, indent="\t") + "\n").encode("ascii")
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(fd)
            os.replace(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(aside)
            raise
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}",
            f"{_KEPT}; another place can be named in DOCKER_CONFIG or REGISTRY_AUTH_FILE",
        ) from None

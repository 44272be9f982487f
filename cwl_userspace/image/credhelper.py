"""Docker's credential helpers, the programs ``docker-credential-NAME``, which keep logins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from cwl_userspace.errors import SettingsError

if TYPE_CHECKING:
    import subprocess

_PATIENCE = 60.0
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class Secret(NamedTuple):
    """What a helper knows about a server."""

    username: str
    secret: str


def ask(helper: str, server: str) -> Secret | None:
    """The login that the helper keeps for a server, or None if it keeps none."""
    program, answer = _call(helper, "get", server.encode())
    if answer.returncode != 0:
        # The protocol has no code for "none": helpers say it in these words.
        if b"credentials not found" in answer.stdout + answer.stderr:
            return None
        raise _failure(program, server, answer)
    return _secret(program, answer.stdout)


def keep(helper: str, server: str, secret: Secret) -> None:
    """Have the helper keep a login for a server, in place of what it had."""
    said = {"ServerURL": server, "Username": secret.username, "Secret": secret.secret}
    program, answer = _call(helper, "store", json.dumps(said).encode())
    if answer.returncode != 0:
        raise _failure(program, server, answer, secret.secret)


def forget(helper: str, server: str) -> None:
    """Have the helper remove the login for a server."""
    program, answer = _call(helper, "erase", server.encode())
    if answer.returncode != 0:
        raise _failure(program, server, answer)


def _call(helper: str, verb: str, told: bytes) -> tuple[str, subprocess.CompletedProcess[bytes]]:
    """The helper's program and its answer; secrets go through its standard input alone."""
    if not helper or not _NAME.issuperset(helper):
        raise SettingsError(f"{helper!r} cannot be a credential helper", "expected a plain name")
    import subprocess  # few have a helper, and every fetch would pay for it

    program = f"docker-credential-{helper}"
    try:
        return program, subprocess.run(
            [program, verb], input=told, capture_output=True, timeout=_PATIENCE
        )
    except FileNotFoundError:
        raise SettingsError(
            f"the credential helper {program} is not installed", "install it or log in again"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"{program} cannot be used: {error}", "see whether it runs") from None


def _failure(
    program: str, server: str, answer: subprocess.CompletedProcess[bytes], secret: str = ""
) -> SettingsError:
    words = (answer.stdout or answer.stderr).decode(errors="replace").strip()
    words = words.replace(secret, "***") if secret else words
    return SettingsError(f"{program} failed for {server}: {words[:200]!r}", "run it by hand")


def _secret(program: str, output: bytes) -> Secret:
    try:
        document = json.loads(output)
        username, secret = document["Username"], document["Secret"]
    except (ValueError, RecursionError, LookupError, TypeError):
        username = secret = None
    if not isinstance(username, str) or not isinstance(secret, str):
        # The output is not shown: it may hold the secret.
        raise SettingsError(f"{program} gives no login that can be read", "run it by hand")
    return Secret(username, secret)

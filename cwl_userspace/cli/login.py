"""``login``: keep a login for a registry where Docker keeps it, once the registry has taken it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.words import FLAG, VALUE, Option, Words, parse
from cwl_userspace.errors import AuthenticationError, Offline, UsageError
from cwl_userspace.image.credentials import TOKEN_USER, Credentials, Login
from cwl_userspace.image.loginfile import keep
from cwl_userspace.reference import DOCKER_HUB, registry_of

OPTIONS = (
    Option("-u --username", VALUE, "the user name", "USER"),
    Option("-p --password", VALUE, "the password, which others can see here", "PASSWORD"),
    Option("--password-stdin", FLAG, "read the password from standard input"),
    Option("--help", FLAG, "show this text"),
)
_LARGEST = 64 << 10


def command(context: Context, argv: Sequence[str]) -> int:
    """Ask for what was not given, try it at the registry, and keep it; say ``Login Succeeded``."""
    words = parse("login", OPTIONS, argv)
    if words.flag("help"):
        return show("login", "[-u USER] [-p PASSWORD | --password-stdin] [REGISTRY]", OPTIONS)
    registry = registry_argument("login", words)
    if context.settings.offline:
        raise Offline(f"no login for {registry} can be tried offline", "leave out --offline")
    credentials = Credentials.from_environment(context.environ)
    known = None if _says_who(words) else credentials.login(registry, "")
    if known is not None and _still_taken(context, registry, known):
        print("Login Succeeded")
        return 0
    login = _given(registry, words, known)
    if not _check(context, registry, login):
        context.log.say(f"{registry} asks nobody for a login, so this one could not be tried")
    place = keep(credentials.files[0], registry, login)
    if place == os.path.realpath(credentials.files[0]):
        context.log.say(f"the login is kept unencrypted in {place}; credsStore there avoids that")
    print("Login Succeeded")
    return 0


def registry_argument(verb: str, words: Words) -> str:
    """The registry that a command line names, Docker's hub if none; raise UsageError."""
    if len(words.arguments) > 1:
        raise UsageError(f"{verb} takes one registry", f"for example: cwl-userspace {verb} quay.io")
    return registry_of(words.arguments[0]) if words.arguments else DOCKER_HUB


def _says_who(words: Words) -> bool:
    return bool(words.value("username") or "password" in words.values or _piped(words))


def _piped(words: Words) -> bool:
    return words.flag("password-stdin")


def _still_taken(context: Context, registry: str, known: Login) -> bool:
    """True if the registry takes the login that is kept already, as Docker tries it first."""
    try:
        _check(context, registry, known)
    except AuthenticationError as error:
        if not os.isatty(0):
            raise
        print(f"the login in {known.origin} is not taken any more: {error}", file=sys.stderr)
        return False
    return True


def _check(context: Context, registry: str, login: Login) -> bool:
    from cwl_userspace.image.registry import Registry

    entry = context.settings.registries.get(registry)
    insecure = entry is not None and entry.insecure
    asked = Registry(registry, insecure=insecure, credentials=Credentials.fixed(login))
    return asked.check_login()


def _given(registry: str, words: Words, known: Login | None) -> Login:
    username = words.value("username")
    if "password" in words.values and _piped(words):
        raise UsageError("--password and --password-stdin exclude each other", "leave one out")
    if _piped(words) and not username:
        raise UsageError("--password-stdin needs a user name", "name it with -u")
    if not _piped(words) and not os.isatty(0) and not (username and words.value("password")):
        raise UsageError(
            "user name and password cannot be asked for, since standard input is no terminal",
            "give -u USER and --password-stdin",
        )
    if not username:
        username = _ask_name(registry, known.username if known else "")
    password = words.value("password")
    if _piped(words):
        password = sys.stdin.buffer.read(_LARGEST).decode("utf-8", "surrogateescape").rstrip("\r\n")
    elif not password:
        import getpass

        password = getpass.getpass("Password: ")
    _refuse_nonsense(username, password)
    if username == TOKEN_USER:
        return Login("the command line", identity_token=password)
    return Login("the command line", username, password)


def _ask_name(registry: str, known: str) -> str:
    shown = f" ({known})" if known else ""
    print(f"Username for {registry}{shown}: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or known


def _refuse_nonsense(username: str, password: str) -> None:
    if not username or not password:
        missing = "password" if username else "user name"
        raise UsageError(f"the {missing} is empty", "nothing was tried")
    if ":" in username or not username.isprintable():
        raise UsageError(f"{username!r} cannot be a user name", "it has no colon and no control")

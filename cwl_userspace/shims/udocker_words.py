"""What several of udocker's commands have in common: how to say things, and to name them."""

from __future__ import annotations

import contextlib
import io
import os

from cwl_userspace import containers
from cwl_userspace.cli import load
from cwl_userspace.cli.words import VALUE, Option
from cwl_userspace.errors import ContainerNotFound, UsageError
from cwl_userspace.settings import RegistrySettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cwl_userspace.cli.context import Context
    from cwl_userspace.cli.words import Words
    from cwl_userspace.containers import Container

REGISTRY = (
    Option("--index", VALUE, "where search asks; a registry's own list serves, too", "URL"),
    Option("--registry", VALUE, "the registry to ask first", "URL"),
    Option("--httpproxy", VALUE, "a proxy that is asked in http", "URL"),
)
_HEX = frozenset("0123456789abcdef")
_GROUPS = (8, 4, 4, 4, 12)


class Insecure(dict[str, RegistrySettings]):
    """The registries as they are set, and every one insecure."""

    def get(self, host: str, default: object = None) -> RegistrySettings:
        """What is set of a registry, and that its certificate does not matter."""
        return RegistrySettings(self[host].mirrors if host in self else (), True)


def tell(context: Context, text: str) -> None:
    """A line of information, as udocker prints them."""
    if not context.log.quiet:
        print(f"Info: {text}", flush=True)


def quietly(context: Context, verb: str, argv: Sequence[str]) -> tuple[int, list[str]]:
    """The exit code of one of our verbs, and the lines that it would have printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = load(verb)(context, argv)
    return code, said.getvalue().splitlines()


def only(verb: str, words: Words, what: str) -> str:
    """The one argument of a command; raise UsageError if there is none, or another."""
    if len(words.arguments) != 1:
        raise UsageError(f"must specify {what}", f"see udocker {verb} --help")
    return words.arguments[0]


def shown_id(identifier: str) -> str:
    """An id of ours in the form of udocker's, a UUID: its first half, with dashes."""
    parts, rest = [], identifier
    for length in _GROUPS:
        parts.append(rest[:length])
        rest = rest[length:]
    return "-".join(parts)


def our_id(text: str) -> str:
    """What udocker's users call a container, with an id in our form."""
    plain = text.replace("-", "")
    if text.count("-") == len(_GROUPS) - 1 and len(plain) == sum(_GROUPS) and set(plain) <= _HEX:
        return plain
    return text


def container_of(context: Context, text: str) -> Container:
    """The container of a name or an id; raise ContainerNotFound."""
    context.store.check()
    return containers.find(context.store, our_id(text))


def known_container(context: Context, text: str) -> Container | None:
    """The container of a name or an id, None if there is none."""
    try:
        return container_of(context, text)
    except ContainerNotFound:
        return None


def place_of(container: Container) -> str:
    """Where a container is, below the store."""
    return f"{containers.PLACE}/{container.name}"


def image_name(text: str) -> str:
    """An image's name; some write the protocol before it."""
    for protocol in ("docker://", "https://", "http://"):
        text = text.removeprefix(protocol)
    return text


def use_network(context: Context, words: Words, text: str) -> None:
    """Have a registry asked first, and go through a proxy, where the options say so."""
    proxy = words.value("httpproxy")
    if proxy:
        # Our own is read for that; a container is given the caller's.
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            os.environ[name] = proxy
    url = words.value("registry")
    if url:
        from cwl_userspace.reference import DOCKER_HUB, ImageReference

        host = ImageReference.parse(text).registry if text else DOCKER_HUB
        mirror = url if "://" in url else f"https://{url}"
        known = context.settings.registries
        insecure = host in known and known[host].insecure
        changed = {**known, host: RegistrySettings((mirror,), insecure)}
        context.settings.registries = Insecure(changed) if type(known) is Insecure else changed

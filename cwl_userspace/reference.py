"""An image name by Docker's rules: ``debian`` is ``docker.io/library/debian:latest``.

The grammar is that of the distribution project (reference/reference.go and normalize.go).
"""

from __future__ import annotations

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ContentMismatch, InvalidReference

DOCKER_HUB = "docker.io"
_DOCKER_HUB_ALIASES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_TAG = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-")
_HOST = _TAG - set("_.")
_IPV6 = frozenset("0123456789abcdefABCDEF:")


class ImageReference:
    """A registry, a repository in it, and a tag, a digest or both (then the digest decides)."""

    __slots__ = ("digest", "registry", "repository", "tag")

    def __init__(
        self, registry: str, repository: str, tag: str | None, digest: Digest | None = None
    ) -> None:
        self.registry = registry
        self.repository = repository
        self.tag = tag
        self.digest = digest

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Read an image name as people write it; raise InvalidReference with the reason."""
        rest, at, digest_text = text.partition("@")
        digest = _parse_digest(text, digest_text) if at else None
        name, tag = _split_tag(rest)
        registry, repository = _split_registry(name)
        _check_registry(text, registry)
        _check_repository(text, repository)
        if tag is not None:
            _check_tag(text, tag)
        elif digest is None:
            tag = "latest"
        return cls(registry, repository, tag, digest)

    @property
    def name(self) -> str:
        """The full name without tag and digest: ``docker.io/library/debian``."""
        return f"{self.registry}/{self.repository}"

    @property
    def selector(self) -> str:
        """What a registry is asked for: the digest if there is one, else the tag."""
        return str(self.digest) if self.digest else (self.tag or "latest")

    @property
    def familiar(self) -> str:
        """The short form that Docker prints: ``debian:latest``."""
        full = (self.registry, self.repository)
        for short in (self.repository.removeprefix("library/"), self.repository):
            # Not every name can be cut: docker.io/library/a/b and docker.io/localhost/a cannot.
            if _split_registry(short) == full:
                return short + self._suffix()
        return self.name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()

    def __repr__(self) -> str:
        return f"ImageReference.parse({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageReference) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash(str(self))


def registry_of(text: str) -> str:
    """The registry that people mean by a host name or an address; raise InvalidReference."""
    host = text.partition("://")[2] if "://" in text else text
    host, _, path = host.partition("/")
    host = host if host.startswith("[") else host.lower()
    if path.strip("/") not in ("", "v1", "v2"):
        raise InvalidReference(f"{text!r} is more than a registry", f"expected {host!r} alone")
    _check_registry(text, host)
    return DOCKER_HUB if host in _DOCKER_HUB_ALIASES else host


def _parse_digest(text: str, digest_text: str) -> Digest:
    try:
        return Digest.parse(digest_text)
    except ContentMismatch as error:
        raise InvalidReference(
            f"invalid image name {text!r}: {error.message}", error.hint
        ) from None


def _split_tag(rest: str) -> tuple[str, str | None]:
    """A colon after the last slash starts the tag; one before it belongs to a port."""
    colon = rest.rfind(":")
    if colon > rest.rfind("/"):
        return rest[:colon], rest[colon + 1 :]
    return rest, None


def _split_registry(name: str) -> tuple[str, str]:
    """A first part with a dot, a colon or upper case, or localhost, is a registry."""
    first, slash, rest = name.partition("/")
    is_host = "." in first or ":" in first or first == "localhost" or first != first.lower()
    registry, repository = (first, rest) if slash and is_host else (DOCKER_HUB, name)
    if registry in _DOCKER_HUB_ALIASES:
        registry = DOCKER_HUB
        if repository and "/" not in repository:
            repository = f"library/{repository}"
    return registry, repository


def _check_registry(text: str, registry: str) -> None:
    host, colon, port = registry.partition(":")
    if registry.startswith("["):
        host, _, rest = registry[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        good_host = bool(host) and _IPV6.issuperset(host) and colon in ("", ":")
    else:
        good_host = all(map(_is_host_component, host.split(".")))
    if not good_host or (colon and not (port.isascii() and port.isdigit())):
        raise InvalidReference(
            f"invalid image name {text!r}: {registry!r} is not a registry",
            "expected a host name with an optional port",
        )


def _is_host_component(part: str) -> bool:
    return bool(part) and _HOST.issuperset(part) and part[0] != "-" and part[-1] != "-"


def _check_repository(text: str, repository: str) -> None:
    reason = ""
    if not repository or len(repository) > 255:
        reason = "the repository must have 1 to 255 characters"
    elif repository != repository.lower():
        reason = f"{repository!r} must be lower case"
    elif not all(_is_path_component(part) for part in repository.split("/")):
        reason = f"{repository!r} is not a repository"
    elif len(last := repository.removeprefix("library/")) == 64 and frozenset(
        "0123456789abcdef"
    ).issuperset(last):
        reason = "64 hex digits are an image id, not a name"
    if reason:
        raise InvalidReference(
            f"invalid image name {text!r}: {reason}",
            "expected [registry/]name[:tag][@sha256:digest], for example debian:stable-slim",
        )


def _is_path_component(part: str) -> bool:
    """Runs of a-z and 0-9, joined by one dot, one or two underscores, or any number of dashes."""
    if not part or part[0] not in _LOWER or part[-1] not in _LOWER:
        return False
    separator = ""
    for character in part:
        if character in _LOWER:
            if separator and separator not in (".", "_", "__") and set(separator) != {"-"}:
                return False
            separator = ""
        else:
            separator += character
    return True


def _check_tag(text: str, tag: str) -> None:
    if not 0 < len(tag) <= 128 or not _TAG.issuperset(tag) or tag[0] in ".-":
        raise InvalidReference(
            f"invalid image name {text!r}: {tag!r} is not a tag",
            "expected 1 to 128 letters, digits, dots, dashes and underscores",
        )

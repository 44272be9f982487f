"""Where packages come from: the mirror that was named, or that of this host's own package lists."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cwl_userspace.errors import ImageNotFound, UsageError
from cwl_userspace.image.offline import from_web

FILE = "file://"
# What serves Debian to everybody.
_DEFAULTS = {"debian": "http://deb.debian.org/debian"}
# Of what apt can fetch from, that of which debootstrap can.
_KNOWN = ("http://", "https://", FILE)
_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*")


class Origin(NamedTuple):
    """One entry of a package list: an archive, its suites and components, and who signs it."""

    uri: str
    suites: Sequence[str]
    components: Sequence[str]
    signed_by: str


def parse(text: str) -> tuple[str, str]:
    """The distribution and the suite of ``debian:bookworm``; a suite alone is Debian's.

    Raise UsageError for what is neither.
    """
    distribution, _, suite = text.rpartition(":")
    distribution = distribution or "debian"
    if not _NAME.fullmatch(distribution) or not _NAME.fullmatch(suite):
        raise UsageError(f"{text!r} names no suite", "for example debian:bookworm")
    return distribution, suite


def origin(distribution: str, suite: str, mirror: str, etc: str = "/etc/apt") -> Origin:
    """Where the packages of a suite are; raise UsageError where nothing says.

    A host's lists know a mirror near by, and what serves one suite serves the distribution's
    others. An archive of another name (debian-security) is none to make a system of.
    """
    if mirror:
        return Origin(_checked(mirror), (suite,), (), "")
    known = [one for one in origins(etc) if one.uri.rstrip("/").endswith(f"/{distribution}")]
    for one in (*(one for one in known if suite in one.suites), *known):
        return one
    if distribution not in _DEFAULTS:
        raise UsageError(f"nothing says where {distribution} is", "name an archive with --mirror")
    return Origin(_DEFAULTS[distribution], (suite,), (), "")


def check(place: Origin, suite: str, offline: bool) -> None:
    """Raise an ImageError where the archive cannot be had, or does not have the suite."""
    for name in ("InRelease", "Release"):
        address = f"{place.uri}/dists/{suite}/{name}"
        try:
            if address.startswith(FILE):
                if os.path.exists(address.removeprefix(FILE)):
                    return
            elif next(from_web(address, offline), b""):
                return
        except ImageNotFound:
            continue
    raise ImageNotFound(
        f"{place.uri} has no suite {suite!r}", "look what it has in its directory dists"
    )


def origins(etc: str) -> Iterator[Origin]:
    """What apt's lists of this host name, in apt's order (sources.list(5))."""
    for path in _lists(etc):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        found = _stanzas(text) if path.endswith(".sources") else _lines(text)
        yield from (one for one in found if one.uri.startswith(_KNOWN))


def _lists(etc: str) -> Iterator[str]:
    yield os.path.join(etc, "sources.list")
    parts = os.path.join(etc, "sources.list.d")
    names = sorted(os.listdir(parts)) if os.path.isdir(parts) else []
    yield from (os.path.join(parts, n) for n in names if n.endswith((".list", ".sources")))


def _lines(text: str) -> Iterator[Origin]:
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)((?:\s+[^#\s]+)*)", line)
        if found:
            signed = re.search(r"signed-by=(\S+)", found[1] or "")
            yield Origin(
                found[2].rstrip("/"), (found[3],), found[4].split(), signed[1] if signed else ""
            )


def _stanzas(text: str) -> Iterator[Origin]:
    without_comments = re.sub(r"(?m)^#.*\n?", "", text)
    for stanza in re.split(r"\n\s*\n", without_comments):
        fields: dict[str, list[str]] = {}
        key = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields.setdefault(key, []).extend(line.split())
            else:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.split()
        if "deb" in fields.get("types", ()) and fields.get("enabled") != ["no"]:
            signed = fields.get("signed-by") or [""]
            for uri in fields.get("uris", ()):
                yield Origin(
                    uri.rstrip("/"),
                    fields.get("suites", ()),
                    fields.get("components", ()),
                    signed[0] if signed[0].startswith("/") else "",
                )


def _checked(mirror: str) -> str:
    """The address of an archive as debootstrap takes it; raise UsageError for what is none."""
    path = mirror.removeprefix(FILE).removeprefix("file:")
    if os.path.isabs(path):
        return f"{FILE}{path.rstrip('/')}"
    if mirror.startswith(("http://", "https://")):
        return mirror.rstrip("/")
    raise UsageError(f"the mirror {mirror!r} is no address", "expected http, https or a directory")

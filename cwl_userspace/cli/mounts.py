"""``-v`` and ``--mount`` as Docker writes them, and as cwltool does when paths have colons."""

from __future__ import annotations

import os
import posixpath

from cwl_userspace.cli.words import truth
from cwl_userspace.errors import UsageError
from cwl_userspace.spec import Mount

# What Docker and podman allow after a second colon; all but "ro" have no meaning here.
_OPTIONS = frozenset(
    (
        "ro",
        "rw",
        "z",
        "Z",
        "delegated",
        "cached",
        "consistent",
        "nocopy",
        "rshared",
        "rslave",
        "rprivate",
        "shared",
        "slave",
        "private",
        "U",
        "exec",
        "noexec",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "bind",
        "rbind",
    )
)
_MOUNT_KEYS = frozenset(
    (
        "type",
        "source",
        "src",
        "target",
        "destination",
        "dst",
        "readonly",
        "ro",
        "bind-propagation",
        "consistency",
    )
)


def volume(text: str, make: bool = True) -> Mount:
    """``SOURCE[:TARGET[:OPTIONS]]``; with ``make`` a missing source is made, as Docker does.

    Either path may have colons itself, since cwltool escapes none: of all places to cut, the
    one is taken whose left side exists, best with the same last name on both sides.
    """
    whole = _same_name(text)
    body, options = (text, set[str]()) if whole else _cut_options(text)
    source, target = whole or _cut(body)
    if not source or not target:
        raise UsageError(f"the volume {text!r} has no source or target", "expected SOURCE:TARGET")
    if "/" not in source and not os.path.lexists(source):
        raise UsageError(
            f"the volume {text!r} names a volume, not a directory",
            "there are no named volumes: give a path",
        )
    real = os.path.realpath(source)
    if make and not os.path.lexists(real):
        try:
            os.makedirs(real, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"the source of the volume {text!r} cannot be made: {error.strerror}",
                "expected a path that exists",
            ) from None
    return Mount(real, target, "ro" in options)


def mount(text: str) -> Mount:
    """``type=bind,source=S,target=T[,readonly]``, a line of CSV; the source must exist."""
    values: dict[str, str] = {}
    for field in fields(text):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if key not in _MOUNT_KEYS:
            raise UsageError(
                f"--mount has {key!r} in {text!r}", f"known keys: {', '.join(sorted(_MOUNT_KEYS))}"
            )
        values[key] = value if equals else "true"
    kind = values.get("type", "bind")
    source = values.get("source", values.get("src", ""))
    target = values.get("target", values.get("destination", values.get("dst", "")))
    if kind != "bind":
        raise UsageError(f"--mount is of type {kind!r}", "expected type=bind")
    if not source or not target:
        raise UsageError(f"--mount {text!r} has no source or target", "give source= and target=")
    real = os.path.realpath(source)
    if not os.path.exists(real):
        raise UsageError(f"the source {source!r} of --mount does not exist", "make it first")
    read_only = values.get("readonly", values.get("ro", "false"))
    return Mount(real, target, truth("readonly of --mount", read_only))


def fields(text: str) -> list[str]:
    """The fields of a line of CSV (RFC 4180); raise UsageError for what is none."""
    if '"' not in text:
        return text.split(",")
    import csv

    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise UsageError(f"{text!r} is no line of CSV: {error}", "see to its quotes") from None


def _cut_options(text: str) -> tuple[str, set[str]]:
    body, colon, last = text.rpartition(":")
    options = set(last.split(","))
    asked = "ro" in options and not last.startswith("/") and _same_name(text) is None
    if asked and not options <= _OPTIONS:
        # Whatever it is meant to be, what is asked to be read alone must not be written.
        raise UsageError(
            f"the volume {text!r} has the options {last!r}", "expected for example ro or ro,z"
        )
    if colon and options <= _OPTIONS and (":" in body or body.startswith("/")):
        # "/data:z" is a target named z only if it starts with a slash, so this is an option.
        return body, options
    return text, set()


def _cut(body: str) -> tuple[str, str]:
    cuts = _cuts(body)
    best = _same_name(body) or next(iter(_existing(cuts) or cuts), None)
    if best is not None:
        return best
    source, colon, target = body.partition(":")
    return (source, target) if colon else (body, body)


def _same_name(text: str) -> tuple[str, str] | None:
    """Two paths with the same last name, of which the first is there: ``/in/a:z:/data/a:z``."""
    for source, target in _existing(_cuts(text)):
        if posixpath.basename(source.rstrip("/")) == posixpath.basename(target.rstrip("/")):
            return source, target
    return None


def _cuts(text: str) -> list[tuple[str, str]]:
    places = [i for i in range(1, len(text)) if text.startswith(":/", i)]
    return [(text[:i], text[i + 1 :]) for i in places]


def _existing(cuts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [cut for cut in cuts if os.path.lexists(cut[0])]

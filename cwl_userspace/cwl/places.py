"""Where the file of dockerLoad or dockerImport is, and what is in it, told by a digest.

CWL calls both URLs and cwltool opens them from where it was started. A path means, as all paths
in a document do, one beside the document; cwltool's reading serves where there is nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from urllib.parse import quote, unquote, urljoin, urlsplit

from cwl_userspace.errors import ImageError, UsageError

_WEB = ("http://", "https://")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CHUNK = 1 << 20
# A file may change within the resolution of its times; on FAT that is two seconds.
_SETTLED = 2_500_000_000


def is_web(place: str) -> bool:
    """True for an address that is asked by HTTP."""
    return place.startswith(_WEB)


def place_of(text: str, document: str) -> str:
    """The absolute path of a regular file, or an http(s) URL, for what a document says.

    *document* is the URL, or the quoted path, of the file in which it stands. Raise UsageError for
    what can be neither, ImageError if there is no such file.
    """
    if text.startswith(_WEB):
        return text
    if text.startswith("file:"):
        parts = urlsplit(text)
        path = unquote(parts.path)
        if parts.netloc not in ("", "localhost") or not path.startswith("/"):
            raise UsageError(f"{text!r} names no file of this host", "expected file:///PATH")
        return _regular(path)
    if _SCHEME.match(text):
        raise UsageError(
            f"{text!r} cannot be fetched", "expected a path, or a file, http or https URL"
        )
    if document.startswith(_WEB):
        return urljoin(document, quote(text))
    beside = os.path.dirname(path_of(document))
    path = os.path.normpath(os.path.join(beside, text))
    if not os.path.exists(path) and os.path.exists(text):
        path = os.path.abspath(text)
    return _regular(path)


def path_of(document: str) -> str:
    """The absolute path of a document: schema-salad cuts a file URL to a relative path, quoted."""
    path = urlsplit(document).path if document.startswith("file:") else document
    return os.path.abspath(unquote(path))


def _regular(path: str) -> str:
    if not os.path.exists(path):
        raise ImageError(f"no file {path}", "a path is taken from the document's directory")
    if not os.path.isfile(path):
        raise ImageError(f"{path} is no regular file", "expected a tar, compressed or not")
    return path


def digest(path: str, cache: str) -> str:
    """The SHA-256 of a file, in hexadecimal.

    It is kept in *cache*, and believed while the file's size, times and inode are the same, so
    that a scatter does not read an image a thousand times. Raise ImageError if it cannot be read.
    """
    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32]
    note = os.path.join(cache, "digests", name)
    try:
        facts = _facts(path)
        known = _noted(note)
        if known is not None and known["facts"] == facts:
            return str(known["digest"])
        looked = time.time_ns()
        found = _sum(path)
        if _facts(path) != facts:
            raise ImageError(f"{path} is being written", "wait until it is whole")
    except OSError as error:
        raise ImageError(
            f"{path} cannot be read: {error.strerror}", "expected a tar, compressed or not"
        ) from None
    if looked - max(facts[1], facts[2]) > _SETTLED:
        _write(note, {"facts": facts, "digest": found})
    return found


def _facts(path: str) -> list[int]:
    what = os.stat(path)
    return [what.st_size, what.st_mtime_ns, what.st_ctime_ns, what.st_ino]


def _sum(path: str) -> str:
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def _noted(note: str) -> dict[str, object] | None:
    try:
        with open(note, encoding="ascii") as file:
            known = json.load(file)
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) and {"facts", "digest"} <= known.keys() else None


def _write(note: str, known: dict[str, object]) -> None:
    """Whole or not at all; where it cannot be written the file is read again next time."""
    mine = f"{note}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(note), mode=0o700, exist_ok=True)
        with open(mine, "w", encoding="ascii") as file:
            json.dump(known, file)
        os.replace(mine, note)
    except OSError:
        pass

"""One blob from its first byte to its last, however often the connection breaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from cwl_userspace.errors import ContentMismatch, ImageNotFound, RegistryError, UsageError
from cwl_userspace.image.addresses import authority_of, is_plain_url
from cwl_userspace.image.connections import Response
from cwl_userspace.image.neterrors import Interrupted, printable
from cwl_userspace.image.transport import ATTEMPTS, Request, Sleep, Transport, backoff, body

_CHUNK = 512 << 10
_SMALLEST_CHUNK = 4 << 10
# An attempt that brings this much is not counted as a failure.
_PROGRESS = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes\s+([0-9]{1,18})-")

# Opens the blob at a byte, by a Range request unless the byte is 0.
OpenAt = Callable[[int], Response]


def download(open_at: OpenAt, size: int, what: str, label: str, sleep: Sleep) -> Iterator[bytes]:
    """The bytes of a blob of ``size``, resumed where the connection broke.

    Raise ContentMismatch if there are more or fewer, Interrupted if it breaks time and again.
    """
    had = mark = attempt = 0
    chunk, ranges = _CHUNK, True
    while True:
        failure: RegistryError | ContentMismatch
        response = open_at(had if ranges else 0)
        first = _first_byte(response)
        try:
            if first is None or first > had:
                response.close()
                ranges = False
                raise Interrupted(f"{label} answers a Range request wrongly", "try again")
            with closing(_after(body(response, label, chunk), had - first)) as pieces:
                for piece in pieces:
                    if had + len(piece) > size:
                        raise _mismatch(what, f"more than the {size} bytes")
                    had += len(piece)
                    yield piece
            failure = _mismatch(what, f"{had} bytes, not the {size}")
        except Interrupted as error:
            failure = error
        if had == size:
            return
        attempt = 1 if had - mark >= _PROGRESS else attempt + 1
        if attempt >= ATTEMPTS:
            raise failure
        # What a read had gathered when the connection broke is lost: gather less.
        mark, chunk = had, max(_SMALLEST_CHUNK, chunk // 8)
        sleep(backoff(attempt))


def from_url(url: str) -> Generator[bytes, None, None]:
    """The bytes behind a URL that a person gave; there is no digest, so no resuming either."""
    if not is_plain_url(url):
        raise UsageError(f"{url!r} is not an address that can be asked", "expected http or https")
    transport = Transport(authority_of(url), url)
    response = transport.send(Request(url, {}))
    if response.status != 200:
        said = f"{response.status} {printable(response.reason)}"
        response.close()
        kind = ImageNotFound if response.status == 404 else RegistryError
        raise kind(f"{url} answers {said}", "check the address")
    yield from body(response, transport.label, _CHUNK)


def _first_byte(response: Response) -> int | None:
    """Where the body starts; a server may ignore Range and send everything (RFC 9110, 14.2)."""
    if response.status == 200:
        return 0
    match = _CONTENT_RANGE.match(response.header("Content-Range"))
    return int(match[1]) if response.status == 206 and match else None


def _after(pieces: Generator[bytes, None, None], skip: int) -> Generator[bytes, None, None]:
    """The bytes behind the first ``skip``; closing this closes the connection."""
    with closing(pieces):
        for piece in pieces:
            if skip < len(piece):
                yield piece[skip:]
            skip = max(0, skip - len(piece))


def _mismatch(what: str, length: str) -> ContentMismatch:
    return ContentMismatch(f"{what} has {length} stated", "the copy is damaged")

"""Read a tar archive from a stream of chunks, strictly: a damaged header is an error.

Python's own ``tarfile`` takes a corrupt header for the end of the archive and costs more time
than all the rest of an extraction. This reader knows what container layers hold: POSIX ustar,
PAX and GNU long names (pax(1) and GNU tar's manual, "Basic Tar Format"). Names are bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache

from cwl_userspace.errors import LayerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cwl_userspace.image.sparse import Map

BLOCK = 512
PATH_LIMIT = 4000
REGULAR, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0123456"

_ZERO = bytes(BLOCK)
_KNOWN = frozenset(b"0123456")
_EXTENSIONS = frozenset(b"xgLKV")  # the volume's label counts as one: it is passed over, too
_PAX, _GNU_NAME, _GNU_LINK = b"xLK"
_OLD_REGULAR = frozenset(b"\x007")
_GNU_SPARSE = ord("S")
_SPARSE_RECORD = b"GNU.sparse."
_EXTENSION_LIMIT = 1 << 20
_SIZE_LIMIT = 1 << 53
_EARLIEST, _LATEST = -(1 << 31), 1 << 34  # what ext4 holds


class Entry:
    """One member: its name and link target as bytes, its type as one of this module's constants.

    ``size`` is how many bytes of data the archive holds; ``sparse``, if it is given, says where
    in the file they belong.
    """

    __slots__ = ("kind", "link", "mode", "mtime", "name", "size", "sparse")

    def __init__(
        self, kind: int, name: bytes, link: bytes, mode: int, size: int, mtime: float
    ) -> None:
        self.kind = kind
        self.name = name
        self.link = link
        self.mode = mode
        self.size = size
        self.mtime = mtime
        self.sparse: Map | None = None


class Bytes:
    """Takes exact amounts out of a stream of chunks."""

    def __init__(self, chunks: Iterable[bytes], what: str) -> None:
        self._chunks = iter(chunks)
        self._chunk = b""
        self._view = memoryview(b"")  # of the chunk
        self._next = 0  # the first byte of the chunk that was not taken
        self._before = 0  # how many bytes came before this chunk
        self.what = what

    @property
    def position(self) -> int:
        """How many bytes were taken."""
        return self._before + self._next

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes, or fewer at the end of the stream."""
        end = self._next + size
        if end <= len(self._chunk):
            taken = self._chunk[self._next : end]
            self._next = end
            return taken
        return b"".join(self.pieces(size, exact=False))

    def pieces(self, size: int, exact: bool = True) -> Iterator[memoryview]:
        """``size`` bytes without a copy; raise LayerError if the stream ends before."""
        while size:
            if self._next == len(self._chunk):
                chunk = next(self._chunks, None)
                if chunk is None:
                    if exact:
                        raise self.damaged("ends in the middle of a file")
                    return
                self._before += self._next
                self._chunk, self._view, self._next = chunk, memoryview(chunk), 0
                continue
            piece = self._view[self._next : self._next + size]
            size -= len(piece)
            self._next += len(piece)
            yield piece

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes."""
        if self._next + size <= len(self._chunk):
            self._next += size
            return
        for _ in self.pieces(size):
            pass

    def drain(self) -> None:
        """Read the stream to its end, so that whoever hashes it sees every byte."""
        self._chunk, self._view, self._next = b"", memoryview(b""), 0
        for _ in self._chunks:
            pass

    def damaged(self, reason: str) -> LayerError:
        """The error for an archive that is not as it should be."""
        return LayerError(f"{self.what} {reason}", "the archive is damaged or not a tar")


def entries(data: Bytes) -> Iterator[Entry]:
    """The members in order; what of a member's data was not read is passed over.

    Raise LayerError for anything that is not a tar archive, and for what cannot be kept
    (members over several volumes).
    """
    extensions: dict[bytes, bytes] = {}
    while (header := _next_header(data)) is not None:
        kind = header[156]
        if kind in _EXTENSIONS:
            size = number(header[124:136], data, "size")
            if not 0 <= size <= _EXTENSION_LIMIT:
                raise data.damaged(f"has an extended header of {size} bytes")
            body = b"".join(data.pieces(size))
            data.skip(-size % BLOCK)
            _extend(extensions, kind, body, data)
            continue
        entry = _entry(header, extensions, data)
        if extensions or kind == _GNU_SPARSE:
            _find_holes(entry, header, extensions, data)
            extensions = {}
        if not entry.size:
            yield entry
            continue
        end = data.position + entry.size + (-entry.size % BLOCK)
        yield entry
        data.skip(end - data.position)
    if extensions:
        raise data.damaged("ends where an entry should follow")
    data.drain()


def _find_holes(entry: Entry, header: bytes, extensions: dict[bytes, bytes], data: Bytes) -> None:
    """Give a sparse file its map."""
    if header[156] == _GNU_SPARSE:
        from cwl_userspace.image import sparse

        entry.sparse = sparse.of_header(header, entry.size, data)
    elif any(key.startswith(_SPARSE_RECORD) for key in extensions):
        from cwl_userspace.image import sparse

        entry.sparse = sparse.of_records(extensions, entry, data)


def _next_header(data: Bytes) -> bytes | None:
    """The next header block, or None at the end: two zero blocks, or the end of the stream."""
    header = data.take(BLOCK)
    if header == _ZERO:
        following = data.take(BLOCK)
        if following in (_ZERO, b""):
            return None
        raise data.damaged("has a block of zeros in its middle")
    if not header:
        return None
    if len(header) < BLOCK:
        raise data.damaged("ends in the middle of a header")
    stated = number(header[148:156], data, "checksum")
    if _checksum(header) != stated and not _signed_checksum_is(header, stated):
        raise data.damaged(f"has a damaged header at byte {data.position - BLOCK}")
    return header


def _checksum(header: bytes) -> int:
    """The sum of a header's bytes, those of the checksum itself as spaces.

    The low half of an Adler-32 is one more than the sum of the bytes, modulo 65521, which the sum
    of 256 bytes does not reach (RFC 1950, 8.2). It is five times as fast as ``sum``.
    """
    low = (zlib.adler32(header[:256]) & 0xFFFF) + (zlib.adler32(header[256:]) & 0xFFFF)
    return low - (zlib.adler32(header[148:156]) & 0xFFFF) - 1 + 8 * 0x20


def _signed_checksum_is(header: bytes, stated: int) -> bool:
    """Some old programs added up signed bytes; POSIX has readers accept both."""
    body = header[:148] + b" " * 8 + header[156:]
    return sum(memoryview(body).cast("b")) == stated


def _entry(header: bytes, extensions: dict[bytes, bytes], data: Bytes) -> Entry:
    kind = header[156]
    name = extensions.get(b"GNU.sparse.name") or extensions.get(b"path", b"")
    if not name:
        name = _text(header[0:100])
        if header[257:263] == b"ustar\0" and header[345]:
            name = _text(header[345:500]) + b"/" + name
    if kind == _GNU_SPARSE:
        kind = REGULAR
    elif kind in _OLD_REGULAR:
        kind = DIRECTORY if name.endswith(b"/") else REGULAR
    if kind not in _KNOWN:
        raise data.damaged(f"has an entry {name!r:.80} of the unknown type {chr(kind)!r}")
    link = extensions.get(b"linkpath") or (_text(header[157:257]) if header[157] else b"")
    if len(name) > PATH_LIMIT or len(link) > PATH_LIMIT or b"\0" in name or b"\0" in link:
        raise data.damaged(f"has a name that no file can have: {name!r:.80}")
    mode = number(header[100:108], data, "mode") & 0o7777
    size = _size(header, extensions, data) if kind == REGULAR else 0
    return Entry(kind, name, link, mode, size, _mtime(header, extensions, data))


def _size(header: bytes, extensions: dict[bytes, bytes], data: Bytes) -> int:
    stated = extensions.get(b"size")
    if stated and not (stated.isdigit() and len(stated) <= 20):
        raise data.damaged(f"states the size {stated!r:.40}")
    size = int(stated) if stated else number(header[124:136], data, "size")
    if not 0 <= size <= _SIZE_LIMIT:
        raise data.damaged(f"states the size {size}")
    return size


def _mtime(header: bytes, extensions: dict[bytes, bytes], data: Bytes) -> float:
    """Seconds since 1970, within what file systems can hold; odd stamps become 0."""
    stated = extensions.get(b"mtime")
    try:
        seconds = float(stated[:40]) if stated else number(header[136:148], data, "time stamp")
    except ValueError:
        return 0.0
    # The comparison is false for "nan", too.
    return seconds if _EARLIEST <= seconds < _LATEST else 0.0


def number(field: bytes, data: Bytes, what: str) -> int:
    """An octal field, or GNU's base 256 where the first bit is set; the second is its sign."""
    try:
        return _number(field)
    except ValueError:
        raise data.damaged(f"has a header whose {what} is {field!r}") from None


@lru_cache(1024)  # members next to each other have the same modes, and often the same times
def _number(field: bytes) -> int:
    if field[0] & 0x80:
        first = field[0] if field[0] & 0x40 else field[0] & 0x7F
        return int.from_bytes(bytes((first,)) + field[1:], "big", signed=True)
    digits = field.strip(b" \0")
    if digits and not digits.isdigit():
        raise ValueError
    return int(digits or b"0", 8)


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _extend(extensions: dict[bytes, bytes], kind: int, body: bytes, data: Bytes) -> None:
    """Take what an extended header says of the next member. PAX wins over GNU, as in GNU tar."""
    if kind == _GNU_NAME:
        extensions.setdefault(b"path", _text(body))
    elif kind == _GNU_LINK:
        extensions.setdefault(b"linkpath", _text(body))
    elif kind == _PAX:
        extensions.update(_pax_records(body, data))


def _pax_records(body: bytes, data: Bytes) -> Iterator[tuple[bytes, bytes]]:
    """Records of ``length key=value newline`` (pax(1), "Extended Header File Format")."""
    position = 0
    places: list[bytes] = []  # in the oldest format of sparse files one key comes many times
    while position < len(body) and body[position]:
        space = body.find(b" ", position, position + 20)
        digits = body[position:space] if space > 0 else b""
        end = position + int(digits) if digits.isdigit() else 0
        if not 0 < space < end <= len(body) or body[end - 1] != 0x0A:
            raise data.damaged("has a damaged extended header")
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if not equals:
            raise data.damaged("has an extended header without a value")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            places.append(value)
        elif key in (b"path", b"linkpath", b"size", b"mtime") or key.startswith(_SPARSE_RECORD):
            yield key, value
        position = end
    if places:
        yield b"GNU.sparse.map", b",".join(places)

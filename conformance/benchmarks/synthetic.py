"""Images of any size and number of files: the same bytes on every machine, packed as Debian is."""

from __future__ import annotations

import functools
import io
import platform
import random
import struct
import tarfile
from collections.abc import Iterator

from conformance.images import host_platform
from conformance.layer import Entry, directory, file, write_layer
from conformance.layout import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, Layout

_BLOCK = 8 << 20
_WORDS = 20_000
_A_LAYER = 1 << 30
_A_FOLDER = 250
# ELF's number of a processor, and its words for exit(0).
_EXIT = {
    "x86_64": (62, bytes.fromhex("b83c00000031ff0f05")),
    "aarch64": (183, bytes.fromhex("a80b8052000080d2010000d4")),
}
# What a file of an image has on average, where nothing else is asked for.
USUAL = 1 << 16


def image(layout: Layout, name: str, files: int, size: int) -> None:
    """Put an image of so many files, and of so many bytes in all, into a layout.

    It has a layer for each gigabyte. Its text packs to less than a half, and repeats itself so
    far apart that no packer sees it. /bin/true is a program that needs nothing.
    """
    layout.create()
    each = max(1, size // files)
    layers = max(1, min(files, size // _A_LAYER))
    parts = [range(files)[n::layers] for n in range(layers)]
    written = [write_layer(layout, _entries(part, each), 1) for part in parts]
    host = host_platform()
    config = layout.add(
        {
            **host,
            "config": {"Cmd": ["true"]},
            "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in written]},
            "history": [{"created_by": "conformance.benchmarks"} for _ in written],
        }
    )
    manifest = layout.add(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, **config._asdict()},
            "layers": [{"mediaType": LAYER_TYPE, **one.blob._asdict()} for one in written],
        }
    )
    layout.publish(name, manifest, host)


def _entries(numbers: range, size: int) -> Iterator[Entry]:
    folders = set()
    if numbers.start == 0:
        yield from (directory("bin"), directory("mnt"), file("bin/true", _program(), 0o755))
        yield from (directory("proc"), directory("dev"), directory("tmp"))
    for number in numbers:
        folder = f"d{number // _A_FOLDER}"
        if folder not in folders:
            folders.add(folder)
            yield directory(folder)
        header = tarfile.TarInfo(f"{folder}/f{number}")
        header.mode, header.size, header.mtime = 0o644, size, 1_000_000_000
        # RawIOBase has readinto; tarfile asks for a reader of bytes
        yield Entry(header, io.BufferedReader(_Text(number, size), 1 << 20))


def _program() -> bytes:
    """An ELF file of this processor that calls exit(0), and nothing else."""
    number, code = _EXIT.get(platform.machine(), _EXIT["x86_64"])
    start = 0x400000
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, number, 1, start + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = 120 + len(code)
    header += struct.pack("<IIQQQQQQ", 1, 5, 0, start, start, size, size, 4096)
    return header + code


class _Text(io.RawIOBase):
    """A file's content: the block of words over and over, from a place of its own on."""

    def __init__(self, number: int, size: int) -> None:
        self._at, self._left = number * 7919 % _BLOCK, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), self._left, _BLOCK - self._at)
        buffer[:count] = memoryview(_block())[self._at : self._at + count]
        self._at = (self._at + count) % _BLOCK
        self._left -= count
        return count


@functools.cache
def _block() -> bytes:
    chance = random.Random(1)
    letters = "etaoinshrdlucmfw"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(_WORDS)]
    # Some words are had much more often than others, as in any text.
    weights = [1 / (rank + 1) for rank in range(_WORDS)]
    text = " ".join(chance.choices(words, weights, k=_BLOCK // 4))
    return text.encode()[:_BLOCK]

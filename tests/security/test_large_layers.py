"""Layers that are large or deep: little memory is needed, and all of it can be removed again."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tars
from tests.command import Command
from tests.images import CONFIG, LAYER, MANIFEST, NAME, Layout, config_json
from tests.security.conftest import Images

pytestmark = pytest.mark.once


def test_directories_one_in_another_are_made_and_removed(images: Images) -> None:
    command = images.command
    path = "d/" * 1900
    image = images.layout(tars.layer(tars.file(f"{path}f", b"x"), tars.directory(path, 0o500)))
    result = command.load(image)
    assert result.returncode == 0, result
    assert (command.path() / path / "f").read_bytes() == b"x"
    result = command("rmi", NAME)
    assert (result.returncode, result.stderr) == (0, b"")
    command.assert_no_trees()
    command.assert_no_litter()


def test_directories_deeper_than_any_path_are_refused_or_removed_again(images: Images) -> None:
    """Links lead further down than one name could; then a whiteout has to remove it all."""
    path, members = "d/" * 1900, list[bytes]()
    for level in range(4):
        members += [tars.directory(f"{'l/' if level else ''}{path}")]
        members += [tars.symlink("m", f"{'l/' if level else ''}{path}"), tars.symlink("l", "m")]
        members += [tars.symlink("l", "/" + "/".join(["d"] * 1900))]
    result = images.command.load(
        images.layout(tars.layer(*members), tars.layer(tars.whiteout("d"), tars.file("f")))
    )
    if result.returncode:
        images.command.assert_refused(result)
    else:
        assert images.command("rmi", NAME).returncode == 0
        images.command.assert_no_trees()


def test_a_gigabyte_of_zeros_needs_little_memory(command: Command, tmp_path: Path) -> None:
    """The peak is the program's own: it is measured by a process that runs nothing else."""
    image = _layout_of_zeros(tmp_path / "image", tars.header("zeros", size=1 << 30))
    measure = (
        "import resource, subprocess, sys\n"
        "code = subprocess.call(sys.argv[1:])\n"
        "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", measure, *command.words("load", "-q", "-i", image)],
        env=command.environ,
        capture_output=True,
        check=True,
    )
    code, kibibytes = map(int, result.stdout.split()[-2:])
    assert code == 0 and kibibytes < 100 << 10, kibibytes
    assert (command.path() / "zeros").stat().st_size == 1 << 30
    assert command("rmi", NAME).returncode == 0


# A member of gzip is made of blocks that are all alike, each of which needs nothing before it.
_LONG_STREAM = """
import random, struct, zlib
from cwl_userspace.image import tar
from cwl_userspace.image.ahead import Ahead, Beside
from cwl_userspace.image.stream import decompressed
from tests import tars

SIZE = 300
PIECE = bytes(random.Random(1).choices(range(16), k=1 << 20))
HEAD = tars.header("large", size=SIZE << 20)

def block(data):
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)

def packed():
    crc, rest, same = zlib.crc32(HEAD), b"\\x1f\\x8b\\x08" + bytes(7) + block(HEAD), block(PIECE)
    for _ in range(SIZE):
        crc = zlib.crc32(PIECE, crc)
        rest += same
        while len(rest) >= 1 << 19:
            yield rest[: 1 << 19]
            rest = rest[1 << 19 :]
    crc = zlib.crc32(tars.END, crc)
    length = len(HEAD) + (SIZE << 20) + len(tars.END)
    yield rest + block(tars.END) + b"\\x03\\0" + struct.pack("<II", crc, length)

def read(chunks):
    for chunk in chunks:
        pass

plain = Ahead(decompressed(Ahead(packed()), "the layer"))
found = sum(entry.size for entry in tar.entries(tar.Bytes(Beside(plain, read), "the layer")))
with open("/proc/self/status") as status:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
print(found >> 20, peak)
"""


def test_no_more_memory_is_needed_for_a_longer_layer() -> None:
    """The peak of a process that does nothing but read one, of three times the bound."""
    result = subprocess.run([sys.executable, "-c", _LONG_STREAM], capture_output=True, check=True)
    mebibytes, kibibytes = map(int, result.stdout.split())
    assert mebibytes == 300 and kibibytes < 100 << 10


def _layout_of_zeros(path: Path, header: bytes) -> Path:
    """A layer of a gigabyte, packed as many members of gzip that are all alike."""
    piece = bytes(1 << 24)
    digest = hashlib.sha256(header)
    for _ in range(64):
        digest.update(piece)
    digest.update(tars.END)
    packed = tars.gzipped(header) + tars.gzipped(piece) * 64 + tars.gzipped(tars.END)
    layout = Layout()
    layout.entry(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": layout.add(config_json([f"sha256:{digest.hexdigest()}"]), CONFIG),
            "layers": [layout.add(packed, LAYER)],
        }
    )
    return layout.directory(path)

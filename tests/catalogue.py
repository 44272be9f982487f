"""Layers by name, hostile and merely odd, each with what has to become of it.

The tests load them all. By hand, to try one on this or on another program::

    python -m tests.catalogue                                the names
    python -m tests.catalogue "negative size" DIRECTORY      an OCI layout of the image test:1
    python -m tests.catalogue --pack zstd NAME DIRECTORY     packed as tests/packing.py can

The words that they are made of are in ``tars`` and ``sparse_tars``: any header can be made to lie.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests import sparse_tars, tars
from tests.images import oci_directory
from tests.packing import PACKINGS

REFUSED, ACCEPTED, EITHER = "refused", "accepted", "either, with nothing outside the tree changed"
_FEW = [(0, b"a" * 512), (4096, b"b" * 512)]


class Case(NamedTuple):
    """The layers of an image, lowest first, and the verdict."""

    verdict: str
    layers: tuple[bytes, ...]


def cases() -> dict[str, Case]:
    """All of them, by name."""
    return {
        **{name: Case(REFUSED, (layer,)) for name, layer in DAMAGED.items()},
        **{name: Case(REFUSED, (layer,)) for name, layer in LYING_MAPS.items()},
        **{name: Case(ACCEPTED, layers) for name, layers in ODD.items()},
        **{name: Case(EITHER, layers) for name, layers in escapes().items()},
    }


DAMAGED: dict[str, bytes] = {
    "not a tar": b"#!/bin/sh\necho this is not a tar\n" * 40,
    "less than a block": b"x",
    "bad checksum mid-archive": tars.layer(
        tars.file("a"), tars.header("b", checksum=b"0000000\0"), tars.file("c")
    ),
    "a damaged byte in a header": tars.layer(tars.file("a"), b"X" + tars.file("b")[1:]),
    "one block of zeros in the middle": tars.layer(tars.file("a"), bytes(512), tars.file("b")),
    "ends in a header": tars.file("a") + tars.file("b")[:300],
    "ends in a file": tars.file("a") + tars.file("b", b"x" * 5000)[:2000],
    "ends in padding": tars.file("a") + tars.file("b", b"x" * 5)[:600],
    "ends after an extended header": tars.file("a") + tars.pax({"path": "b"}),
    "ends in an extended header": tars.file("a") + tars.pax({"path": "b" * 2000})[:1024],
    "ends after a long name": tars.file("a") + tars.gnu_name("b"),
    "negative size": tars.layer(tars.header("a", size=b"\xff" * 12), tars.file("b")),
    "negative octal size": tars.layer(tars.header("a", size=b"-0000000001"), tars.file("b")),
    "negative size in PAX": tars.layer(tars.pax({"size": "-512"}), tars.file("a")),
    "negative size of an extended header": tars.layer(
        tars.header("x", b"x", size=-512), tars.file("a")
    ),
    "size in base 256 beyond all bounds": tars.layer(tars.header("a", size=2**80)),
    "size of eight exbibytes": tars.layer(tars.header("a", size=2**63 - 1)),
    "size of a pebibyte": tars.layer(tars.header("a", size=2**50)),
    "no octal size": tars.layer(tars.header("a", size=b"0x00000000")),
    "digits 8 and 9": tars.layer(tars.header("a", size=b"00000000018")),
    "no octal mode": tars.layer(tars.header("a", mode=b"rwxr-xr")),
    "no octal time": tars.layer(tars.header("a", mtime=b"yesterday")),
    "no checksum": tars.layer(tars.header("a", checksum=b"        ")),
    "flood of digits in PAX": tars.layer(tars.pax({"size": "9" * 10**5}), tars.file("a")),
    "flood of digits in a PAX length": tars.layer(tars.pax(b"9" * 10**5), tars.file("a")),
    "PAX length zero": tars.layer(tars.pax(b"0 path=x\n"), tars.file("a")),
    "PAX length too long": tars.layer(tars.pax(b"999 path=x\n"), tars.file("a")),
    "PAX length too short": tars.layer(tars.pax(b"5 path=x\n"), tars.file("a")),
    "PAX length negative": tars.layer(tars.pax(b"-11 path=x\n"), tars.file("a")),
    "PAX length missing": tars.layer(tars.pax(b" path=x\n"), tars.file("a")),
    "PAX without equals": tars.layer(tars.pax(b"8 pathx\n"), tars.file("a")),
    "PAX without newline": tars.layer(tars.pax(b"10 path=xy"), tars.file("a")),
    "NUL in a PAX name": tars.layer(tars.pax({"path": b"a\0b"}), tars.file("a")),
    "name longer than any": tars.layer(tars.pax({"path": "a/" * 5000}), tars.file("a")),
    "step of a name longer than any": tars.layer(tars.pax({"path": "a" * 300}), tars.file("a")),
    "parent longer than any": tars.layer(tars.pax({"path": "a" * 300 + "/b"}), tars.file("a")),
    "extended header of 2 MiB": tars.layer(tars.pax({"comment": "x" * 2**21}), tars.file("a")),
    "extended header of 8 TiB": tars.layer(tars.header("x", b"x", size=2**43)),
    "long name of 8 TiB": tars.layer(tars.header("x", b"L", size=2**43)),
    "unknown type": tars.layer(tars.header("a", b"\x1b"), tars.file("b")),
    "several volumes": tars.layer(tars.header("a", b"M"), tars.file("b")),
    "empty link": tars.layer(tars.symlink("a", "")),
}  # fmt: skip

# Sparse files whose map does not fit.
LYING_MAPS: dict[str, bytes] = {
    f"sparse: {name}": tars.layer(member, tars.file("after"))
    for name, member in {
        "8 TiB, no map": tars.header("a", b"S", size=512, magic=b"ustar  \0") + bytes(512),
        "another tar's kind": sparse_tars.gnu("a", 8192, _FEW, magic=b"ustar\x0000"),
        "places before the last": sparse_tars.gnu("a", 8192, _FEW, pairs=[(4096, 512), (0, 512)]),
        "places that overlap": sparse_tars.gnu("a", 8192, _FEW, pairs=[(0, 512), (256, 512)]),
        "more placed than stored": sparse_tars.gnu("a", 8192, _FEW, pairs=[(0, 512), (600, 999)]),
        "less placed than stored": sparse_tars.gnu("a", 8192, _FEW, pairs=[(0, 512)]),
        "places beyond the end": sparse_tars.gnu("a", 4200, _FEW),
        "negative place": sparse_tars.gnu("a", 8192, _FEW, pairs=[(-512, 512), (0, 512)]),
        "negative length": sparse_tars.gnu("a", 8192, _FEW, pairs=[(0, 1536), (4096, -512)]),
        "place of 2^80": sparse_tars.gnu("a", 8192, _FEW, pairs=[(0, 512), (2**80, 512)]),
        "negative size": sparse_tars.gnu("a", -1, []),
        "cut in its map": sparse_tars.gnu("a", 99999, [(i * 999, b"x") for i in range(50)])[:1024],
        "no numbers": sparse_tars.pax01("a", 8192, _FEW, more={"GNU.sparse.map": "0,x,4096,512"}),
        "no end": sparse_tars.pax01("a", 8192, _FEW, more={"GNU.sparse.map": "0,512,4096"}),
        "other count": sparse_tars.pax01("a", 8192, _FEW, more={"GNU.sparse.numblocks": "7"}),
        "digits on end": sparse_tars.pax01("a", 9, [], more={"GNU.sparse.size": "9" * 9999}),
        "format 2.0": sparse_tars.pax10("a", 8192, _FEW, more={"GNU.sparse.major": "2"}),
        "no size": sparse_tars.pax10("a", 8192, _FEW, more={"GNU.sparse.realsize": ""}),
        "empty map": sparse_tars.pax10("a", 8192, _FEW, table=b""),
        "map without lines": sparse_tars.pax10("a", 8192, _FEW, table=b"1" * 512),
        "map of zeros": sparse_tars.pax10("a", 8192, _FEW, table=bytes(512)),
        "map of a milliard": sparse_tars.pax10("a", 8192, _FEW, table=b"999999999\n".ljust(512)),
        "map longer than the data": sparse_tars.pax10(
            "a", 8192, [], table=tars.padded(b"900\n" + b"0\n0\n" * 100)
        ),
        "name too long": sparse_tars.pax01("a", 8192, _FEW, more={"GNU.sparse.name": "n" * 5000}),
        "a directory": tars.pax({"GNU.sparse.size": "9", "GNU.sparse.numblocks": "0"})
        + tars.directory("a"),
    }.items()
}  # fmt: skip

# Legal, if seldom seen.
ODD: dict[str, tuple[bytes, ...]] = {
    **{
        f"sparse: format {name}": (
            tars.layer(make("a", 1 << 20, [(i * 8192, b"%05d" % i * 100) for i in range(60)])),
        )
        for name, make in sparse_tars.FORMATS.items()
    },
    "long names": (
        tars.layer(
            tars.gnu_name("g" * 250 + "/" + "h" * 250) + tars.file("cut", b"g"),
            tars.file("p" * 250 + "/" + b"\xe9".decode("latin-1") * 50, b"p"),
            tars.gnu_name("t" * 900, b"K") + tars.header("link", b"2", link="cut"),
        ),
    ),
    "a global header": (tars.layer(tars.pax({"comment": "x"}, b"g"), tars.file("a")),),
    "sizes in base 256": (tars.layer(tars.file("a", b"x", size=b"\x80" + b"\0" * 10 + b"\1")),),
    "devices and pipes": (tars.layer(*(tars.special(f"d{k}", b"%d" % k) for k in (3, 4, 6))),),
    "set-user-ID": (tars.layer(tars.file("su", b"x", 0o4755), tars.directory("d", 0o2755)),),
    "closed directories": (
        tars.layer(tars.directory("d", 0), tars.directory("d/e", 0o555), tars.file("d/e/f", b"x")),
        tars.layer(tars.whiteout("d/e/f"), tars.file("d/g")),
    ),
    "whiteouts": (
        tars.layer(tars.file("d/a"), tars.file("d/e/b"), tars.file("c")),
        tars.layer(tars.opaque("d"), tars.file("d/new"), tars.whiteout("c"), tars.whiteout("none")),
    ),
    "files of AUFS": (tars.layer(tars.file(".wh..wh.aufs"), tars.directory(".wh..wh.plnk")),),
    "every kind by every other": (
        tars.layer(tars.file("a"), tars.directory("b"), tars.symlink("c", "b")),
        tars.layer(tars.directory("a"), tars.symlink("b", "a"), tars.file("c")),
    ),
}


def escapes(canary: str = "/tmp/canary") -> dict[str, tuple[bytes, ...]]:
    """What would like to reach a directory of the host, given by its absolute path."""
    up = f"{'../' * 30}{canary[1:]}"
    sparse = sparse_tars.FORMATS.values()
    return {
        "names that climb": (
            tars.layer(tars.file(f"{up}/f", b"evil"), tars.file(f"/..{canary}/f", b"evil")),
        ),
        "a link to write through": (
            tars.layer(tars.symlink("l", canary), tars.file("l/f", b"evil")),
            tars.layer(tars.file("l/g", b"evil"), tars.whiteout("l/f"), tars.opaque("l")),
        ),
        "a hard link to write through": (
            tars.layer(tars.hard_link("h", f"{canary}/f"), tars.file("h", b"evil")),
        ),
        "a sparse file in place of a link": (
            tars.layer(
                *(tars.symlink("a", f"{canary}/f") + make("a", 8192, _FEW) for make in sparse)
            ),
        ),
        "a sparse file through a link": (
            tars.layer(tars.symlink("l", canary), *(make("l/f", 8192, _FEW) for make in sparse)),
        ),
        "a sparse file that climbs": (
            tars.layer(sparse_tars.pax01(f"{up}/f", 8192, _FEW)),
            tars.layer(sparse_tars.pax10(f"{canary}/f", 8192, _FEW)),
        ),
        "a root that is a link": (tars.layer(tars.symlink("./", canary), tars.file("f", b"evil")),),
        "whiteouts that climb": (
            tars.layer(tars.file("f")),
            tars.layer(tars.whiteout(f"{up}/f"), tars.file(".wh..."), tars.opaque(up)),
        ),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """List the cases, or write one as an image."""
    parser = argparse.ArgumentParser(prog="python -m tests.catalogue", description=__doc__)
    parser.add_argument("--pack", choices=PACKINGS, default="plain")
    parser.add_argument("name", nargs="?", choices=cases(), metavar="NAME")
    parser.add_argument("directory", nargs="?", type=Path, metavar="DIRECTORY")
    given = parser.parse_args(arguments)
    if given.name is None or given.directory is None:
        for name, case in cases().items():
            print(f"{name:45} {case.verdict}")
        return 0
    case = cases()[given.name]
    oci_directory(given.directory, case.layers, PACKINGS[given.pack])
    print(f"test:1 in {given.directory}, to be {case.verdict}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

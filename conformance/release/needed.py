"""Prints what the single file has of others: all that a wheel of ours needs, but for cwltool.

usage: python -m conformance.release.needed WHEEL

cwltool has compiled modules of its own, and calls the single file as a command.
"""

from __future__ import annotations

import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

_THEIRS = ("cwltool", "schema-salad")


def main(wheel: Path) -> list[str]:
    """The requirements, as pip reads them."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        said = message_from_bytes(archive.read(name)).get_all("Requires-Dist", [])
    return [line for line in said if "extra ==" not in line and not line.startswith(_THEIRS)]


if __name__ == "__main__":
    print("\n".join(main(Path(sys.argv[1]))))

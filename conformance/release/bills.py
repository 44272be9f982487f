"""Checks a bill of materials against an environment: each package is in it, by name and version.

usage: python -m conformance.release.bills ENVIRONMENT BILL
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path


def main(environment: Path, bill: Path) -> list[str]:
    """What a bill in CycloneDX's JSON lacks, or names and nobody has, in sentences."""
    (packages,) = environment.glob("lib/python3*/site-packages")
    installed = {
        (d.metadata["Name"].lower(), d.version)
        for d in metadata.distributions(path=[str(packages)])
    }
    said = json.loads(bill.read_text("utf-8"))
    root = said["metadata"]["component"]
    named = {(c["name"].lower(), c["version"]) for c in (root, *said["components"])}
    return [f"{bill.name} lacks {n} {v}" for n, v in sorted(installed - named)] + [
        f"{bill.name} names {n} {v}, which is not there" for n, v in sorted(named - installed)
    ]


if __name__ == "__main__":
    sys.exit("\n".join(main(Path(sys.argv[1]), Path(sys.argv[2]))) or 0)

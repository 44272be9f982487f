"""Write the pages that are made from the code: the command line, the errors, the rooms.

usage: python -m conformance.docs
"""

from __future__ import annotations

from collections.abc import Callable

from conformance.docs import cli, errors, rooms
from conformance.docs.blocks import TOP

PAGES: dict[str, Callable[[], str]] = {
    "docs/cli.rst": cli.page,
    "docs/errors.rst": errors.page,
    "docs/rooms.rst": rooms.page,
    "docs/rooms.svg": rooms.picture,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (TOP / name).write_text(page(), encoding="utf-8")
        print(name)

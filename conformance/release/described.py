"""Makes of README.rst the long description for a package index, which has none of our files.

usage: python -m conformance.release.described TREE

TREE is what a release is built of. Its ``setup.cfg`` then names the description, and README.rst
stays as it is. With the project's address (``url`` in ``setup.cfg``, of a forge that is laid out as
GitHub) links lead to the files of the version's tag; without it the files' names take their place.
"""

from __future__ import annotations

import re
import sys
from configparser import RawConfigParser
from pathlib import Path

from docutils import nodes

import cwl_userspace
from conformance.docs.plain import document

NAME = "conformance/release/description.rst"
_LINK = re.compile(r"`([^`<]+?)(\s+)<([^>:]+)>`_")
_IMAGE = re.compile(r"^\.\. image:: (\S+)\n((?: +:.*\n)*)", re.MULTILINE)


def described(readme: str, url: str) -> str:
    """The description of a project with this address, or with none ("")."""
    base = f"{url.rstrip('/')}/{{}}/v{cwl_userspace.__version__}"
    if not url:
        return _IMAGE.sub("", _LINK.sub(r"\1\2(``\3``)", readme))
    linked = _LINK.sub(rf"`\1\2<{base.format('blob')}/\3>`_", readme)
    return _IMAGE.sub(rf".. image:: {base.format('raw')}/\1\n\2", linked)


def relative(description: Path) -> list[str]:
    """What it refers to that is no address, and so is not on an index; and what is no markup."""
    tree, said = document(description)
    links = [node["refuri"] for node in tree.findall(nodes.reference) if "refuri" in node]
    images = [node["uri"] for node in tree.findall(nodes.image)]
    found = [one for one in links + images if not re.match("[a-z]+:", one)]
    return [*found, *([said] if said else [])]


def main(tree: Path) -> None:
    """Write the description, and have setup.cfg name it."""
    settings = tree / "setup.cfg"
    read = RawConfigParser()
    read.read(settings, "utf-8")
    url = read.get("metadata", "url", fallback="")
    readme = (tree / "README.rst").read_text("utf-8")
    (tree / NAME).write_text(described(readme, url), "utf-8")
    text, ours = settings.read_text("utf-8"), f"long_description = file: {NAME}\n"
    settings.write_text(text.replace("long_description = file: README.rst\n", ours), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

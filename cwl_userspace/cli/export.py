"""``export``: the tree of a container as a tar, as ``import`` and ``docker import`` read it."""

from __future__ import annotations

from collections.abc import Sequence

from cwl_userspace import containers
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import show
from cwl_userspace.cli.output import Write, write_archive
from cwl_userspace.cli.rights import with_rights
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.image.treetar import tree_bytes

OPTIONS = (
    Option("-o --output", VALUE, "write to a file, not to standard output", "FILE"),
    Option("--help", FLAG, "show this text; all files are root's in the tar, pipes are left out"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Write the archive; the container stays as it is."""
    words = parse("export", OPTIONS, argv)
    if words.flag("help"):
        return show("export", "[-o FILE] CONTAINER", OPTIONS)
    if len(words.arguments) != 1:
        raise UsageError("export needs one container", "see cwl-userspace ps -a")
    context.store.check()
    rootfs = containers.find(context.store, words.arguments[0]).rootfs(context.store)

    def produce(write: Write) -> None:
        for piece in tree_bytes(rootfs):
            write(piece)

    with_rights(lambda: write_archive("export", words.value("output"), produce))
    return 0

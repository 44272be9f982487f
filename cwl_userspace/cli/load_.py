"""``load``: images from what ``docker save`` wrote, or from an OCI layout in a tar or directory."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.dropped import tell
from cwl_userspace.cli.help import show
from cwl_userspace.cli.progress import Progress
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.image.archive import loadable
from cwl_userspace.oci import Platform
from cwl_userspace.store.images import add
from cwl_userspace.store.workspace import workspace

OPTIONS = (
    Option("-i --input", VALUE, "the archive or layout; standard input if not given", "PATH"),
    Option("--platform", VALUE, "take the images for another platform", "OS/ARCH"),
    Option("-q --quiet", FLAG, "no progress"),
    Option("--help", FLAG, "show this text"),
)


def command(context: Context, argv: Sequence[str]) -> int:
    """Load every image of an archive and print its names."""
    words = parse("load", OPTIONS, argv)
    if words.flag("help"):
        return show("load", "[-i PATH]", OPTIONS)
    if words.arguments:
        raise UsageError(f"load has no argument {words.arguments[0]!r}", "name the file with -i")
    path = words.value("input", "-")
    if path == "-" and os.isatty(0):
        raise UsageError("load reads from a terminal", "name the file with -i, or pipe it in")
    text = words.value("platform")
    platform = Platform.parse(text) if text else Platform.host()
    context.log.quiet = context.log.quiet or words.flag("quiet")
    context.store.prepare()
    with workspace(context.store) as spool, Progress(path, context.log) as progress:
        found = [
            (entry, add(context.store, entry.image, entry.source, entry.names, progress))
            for entry in loadable(path, spool, platform, context.store.unpacked_limit)
        ]
    for entry, record in found:
        tell(context, entry.names[0].familiar if entry.names else str(record.id), record)
        for name in entry.names:
            print(f"Loaded image: {name.familiar}")
        if not entry.names:
            print(f"Loaded image ID: {record.id}")
    return 0
